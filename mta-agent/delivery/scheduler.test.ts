import { expect, test } from 'vitest'
import { afterSettles, impatient, isEmpty, message, outcomesOf, settings, startDelivery } from '#test/builders/delivery.ts'
import { recipient } from '#test/builders/queue.ts'
import { openNameServer } from '#test/builders/name-server.ts'
import { REPLIES } from '#test/internet/behaviour.ts'
import { openProvider } from '#test/internet/provider.ts'
import { openResolver } from './resolver.ts'
import { DEFAULT_TUNING } from './tuning.ts'

/** Nothing here takes long; a busy machine may. */
const LONG = { timeout: 30_000 }
const never = AbortSignal.timeout(60_000)

test('a message arrives from the source address with its EHLO name, byte for byte', async () => {
  await using provider = await openProvider({ name: 'plain', keep: 'content' })
  await using running = startDelivery(settings(provider))
  const sent = message(['user@example.com'])
  await running.queue.append(sent)
  await running.queue.settledUntil(isEmpty)
  const [arrival] = provider.arrivals()
  expect(arrival).toMatchObject({
    outcome: 'arrived',
    sourceAddress: '127.0.0.5',
    hello: 'out5.example.org',
    tls: null,
    sender: 'sender@example.org',
    recipients: [{ address: 'user@example.com', parameters: [] }],
    senderParameters: [`SIZE=${sent.content.length}`],
  })
  expect(provider.contentOf(arrival!)?.toString()).toBe(sent.content.toString())
})

test('each recipient has its own outcome; the refused one is reported, the deferred one comes back', async () => {
  await using provider = await openProvider({
    name: 'picky',
    behaviour: {
      rules: [
        { at: 'rcpt', match: { localPart: 'gone' }, action: { do: 'reply', reply: '550 5.1.1 No such user' } },
        { at: 'rcpt', match: { localPart: 'full' }, times: 1, action: { do: 'reply', reply: '452 4.2.2 Mailbox full' } },
      ],
    },
  })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com', 'gone@example.com', 'full@example.com']))
  await running.queue.settledUntil(afterSettles(2))
  expect(outcomesOf(running.queue)).toEqual([
    '0 delivered 250 2.0.0',
    '1 bounced Refused 550 5.1.1',
    '2 deferred recipient 452 4.2.2',
    '0 delivered 250 2.0.0',
  ])
  running.advance(300_000)
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals().map(({ sender, recipients }) => [sender, recipients.map(({ address }) => address)])).toEqual([
    ['sender@example.org', ['user@example.com']],
    ['', ['sender@example.org']],
    ['sender@example.org', ['full@example.com']],
  ])
})

test.each([true, false])('250 recipients go in chunks of 100 over one connection (pipelining %s)', async (pipelining) => {
  await using provider = await openProvider({ name: 'many', behaviour: { capabilities: { pipelining } } })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(Array.from({ length: 250 }, (_, at) => `user${at}@example.com`)))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals().map(({ session, recipients }) => [session, recipients.length])).toEqual([
    [1, 100],
    [1, 100],
    [1, 50],
  ])
})

test('recipients that are too many for one transaction follow at once in the next (RFC 5321 section 4.5.3.1.10)', async () => {
  await using provider = await openProvider({ name: 'small', behaviour: { recipientsPerMessage: 3 } })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(Array.from({ length: 8 }, (_, at) => `user${at}@example.com`)))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals().map(({ recipients }) => recipients.length)).toEqual([3, 3, 2])
  expect(running.queue.settled.length).toBe(1)
})

test('connections are used again, and closed after maxMessagesPerConnection', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 4 } }))
  await Promise.all(Array.from({ length: 10 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals().map(({ session, transaction }) => `${session}.${transaction}`)).toEqual([
    '1.1',
    '1.2',
    '1.3',
    '1.4',
    '2.1',
    '2.2',
    '2.3',
    '2.4',
    '3.1',
    '3.2',
  ])
})

test('a server that closes after some messages without a word costs no message an attempt', async () => {
  await using provider = await openProvider({ name: 'yahoo', behaviour: { messagesPerConnection: 3 } })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 100 } }))
  await Promise.all(Array.from({ length: 10 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual(Array.from({ length: 10 }, () => '0 delivered 250 2.0.0'))
})

test('no more connections are open to a destination than are allowed', async () => {
  await using provider = await openProvider({ name: 'slow', behaviour: { replyDelayMillis: 5 } })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 3, maxMessagesPerConnection: 100 } }))
  await Promise.all(Array.from({ length: 30 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(isEmpty)
  expect(provider.counts().mostOpen).toBe(3)
})

// Servers that say one reply too many are out of step by one: what answers DATA then belongs to RCPT.
test.each([true, false])('250 to DATA is no delivery: nothing was sent yet (pipelining %s)', async (pipelining) => {
  await using provider = await openProvider({
    name: 'out of step',
    behaviour: { capabilities: { pipelining }, rules: [{ at: 'data', action: { do: 'reply', reply: '250 2.1.5 Ok' } }] },
  })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(afterSettles(1))
  expect(outcomesOf(running.queue)).toEqual(['0 deferred route 250 2.1.5'])
  expect(provider.arrivals().filter(({ outcome }) => outcome === 'arrived')).toEqual([])
})

test('a destination that hangs holds up no other', async () => {
  await using stuck = await openProvider({ name: 'stuck', behaviour: { rules: [{ at: 'mail', action: { do: 'hang' } }] } })
  await using provider = await openProvider({ name: 'plain' })
  const routes = [
    { domain: 'stuck.example', nextHop: { host: stuck.address, port: stuck.port } },
    { domain: '*', nextHop: { host: provider.address, port: provider.port } },
  ]
  await using running = startDelivery(
    settings(undefined, { routes, delivery: { maxConnectionsPerDestination: 2, maxMessagesPerConnection: 100 } }),
    {
      tuning: { maxTransactions: 5 },
    },
  )
  await Promise.all(Array.from({ length: 200 }, () => running.queue.append(message(['user@stuck.example']))))
  await Promise.all(Array.from({ length: 20 }, () => running.queue.append(message(['user@example.com']))))
  await provider.waitForArrivals(20, never)
  expect(running.scheduler.inFlight()).toBeLessThanOrEqual(5)
  expect(stuck.counts().mostOpen).toBe(2)
})

test.each([
  ['selfSigned', 'unverified'],
  ['good', 'unverified'],
  ['wrongName', 'unverified'],
  ['expired', 'unverified'],
] as const)('STARTTLS with a %s certificate is used, and is %s without a trusted root', async (tls, protection) => {
  await using provider = await openProvider({ name: 'tls', behaviour: { tls } })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals()[0]?.tls).toMatchObject({ version: 'TLSv1.3' })
  expect(running.counted).toEqual(['connection opened', `tls ${protection}`, 'transaction completed', 'delivered'])
})

test.each([
  ['is cut off', { do: 'close', how: 'reset' }],
  ['hangs', { do: 'hang' }],
] as const)('a TLS handshake that %s is followed by clear text, and remembered', async (_what, action) => {
  await using provider = await openProvider({ name: 'tls', behaviour: { tls: 'good', rules: [{ at: 'tls', action }] } })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 1 } }), {
    tuning: impatient({ tls: 300 }),
  })
  await running.queue.append(message(['user@example.com']))
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals().map(({ session, tls }) => [session, tls])).toEqual([
    [2, null],
    [3, null],
  ])
})

test('TLS that is not available for now (454) is done without', async () => {
  const rules = [{ at: 'starttls', action: { do: 'reply', reply: '454 4.7.0 TLS not available' } }] as const
  await using provider = await openProvider({ name: 'tls', behaviour: { tls: 'good', rules: [...rules] } })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals().map(({ session, tls }) => [session, tls])).toEqual([[1, null]])
})

test.each(['greeting', 'ehlo', 'mail', 'rcpt', 'data'] as const)('a server that hangs at %s leaves the message deferred', async (at) => {
  await using provider = await openProvider({ name: 'hangs', behaviour: { rules: [{ at, action: { do: 'hang' } }] } })
  await using running = startDelivery(settings(provider), { tuning: impatient({ [at]: 100 }) })
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(afterSettles(1))
  expect(outcomesOf(running.queue)).toEqual([expect.stringMatching(/^0 deferred destination 451 4\.4\.[12]$/)])
  expect(running.counted).not.toContain('transaction ambiguous')
})

test('large content that is not taken is deferred, and not ambiguous', async () => {
  await using provider = await openProvider({ name: 'hangs', behaviour: { rules: [{ at: 'content', action: { do: 'hang' } }] } })
  await using running = startDelivery(settings(provider), { tuning: impatient({ block: 200 }) })
  await running.queue.append(message(['user@example.com'], {}, `${'x'.repeat(70)}\r\n`.repeat(400_000)))
  await running.queue.settledUntil(afterSettles(1))
  expect(outcomesOf(running.queue)).toEqual(['0 deferred destination 451 4.4.2'])
  expect(running.counted).toContain('transaction lost')
})

test.each([
  ['hangs', { do: 'hang' }],
  ['is cut off', { do: 'close', how: 'fin' }],
] as const)('a session that %s after the dot is ambiguous: deferred, not tried at another host, counted', async (_what, action) => {
  await using provider = await openProvider({
    name: 'cuts',
    addresses: ['127.0.0.1', '127.0.0.2'],
    behaviour: { rules: [{ at: 'dot', action }] },
  })
  await using names = await openNameServer({
    'example.com': { MX: [[10, 'mx.example.com']] },
    'mx.example.com': { A: ['127.0.0.1', '127.0.0.2'] },
  })
  await using running = startDelivery(settings(undefined), {
    resolver: openResolver({ servers: [names.server], clock: () => 0 }),
    tuning: { ...impatient({ dot: 200 }), smtpPort: provider.port, loopback: 'foreign' },
  })
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(afterSettles(1))
  expect(outcomesOf(running.queue)).toEqual(['0 deferred route 451 4.4.2'])
  expect(running.counted).toContain('transaction ambiguous')
  expect(provider.counts().sessions).toBe(1)
})

test('the host of the next preference takes what the first cannot', async () => {
  await using second = await openProvider({ name: 'second', addresses: ['127.0.0.3'] })
  await using names = await openNameServer({
    'example.com': {
      MX: [
        [10, 'mx1.example.com'],
        [20, 'mx2.example.com'],
      ],
    },
    'mx1.example.com': { A: ['127.0.0.2'] },
    'mx2.example.com': { A: ['127.0.0.3'] },
  })
  await using running = startDelivery(settings(undefined), {
    resolver: openResolver({ servers: [names.server], clock: () => 0 }),
    tuning: { smtpPort: second.port, loopback: 'foreign' },
  })
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(isEmpty)
  expect(second.arrivals()[0]).toMatchObject({ host: '127.0.0.3', sourceAddress: '127.0.0.5' })
  expect(running.counted).toEqual(['connection failed', 'connection opened', 'tls clear', 'transaction completed', 'delivered'])
})

test.each([
  ['mail', REPLIES.gmailRateLimited, 'route 421 4.7.28'],
  ['mail', REPLIES.yahooDeferred, 'destination 421 4.7.0'],
  ['greeting', REPLIES.microsoftTooManyConnections, 'route 421 4.7.652'],
] as const)('a provider that will not have us for now is not asked at its other hosts (%s)', async (at, reply, wanted) => {
  await using provider = await openProvider({
    name: 'policy',
    addresses: ['127.0.0.1', '127.0.0.2'],
    behaviour: { rules: [{ at, action: { do: 'reply', reply } }] },
  })
  await using names = await openNameServer({ 'example.com': { A: ['127.0.0.1', '127.0.0.2'] } })
  await using running = startDelivery(settings(undefined), {
    resolver: openResolver({ servers: [names.server], clock: () => 0 }),
    tuning: { smtpPort: provider.port, loopback: 'foreign' },
  })
  await running.queue.append(message(['user@example.com', 'other@example.com']))
  await running.queue.settledUntil(afterSettles(1))
  expect(outcomesOf(running.queue)).toEqual([`0 deferred ${wanted}`, `1 deferred ${wanted}`])
  expect(provider.counts().sessions).toBe(1)
})

test('force during the grace of a stop cuts off at once', async () => {
  await using provider = await openProvider({ name: 'hangs', behaviour: { rules: [{ at: 'rcpt', action: { do: 'hang' } }] } })
  const force = new AbortController()
  await using running = startDelivery(settings(provider), { signal: force.signal })
  await running.queue.append(message(['user@example.com']))
  await expect.poll(() => provider.counts().open, LONG).toBe(1)
  const stopped = running.scheduler.stop(600_000)
  force.abort()
  await stopped
  expect(running.scheduler.inFlight()).toBe(0)
})

test.each(['127.0.0.7', '0.0.0.0', '::1', '::ffff:127.0.0.1'])(
  'mail for a host at %s would come back to us: it bounces',
  async (address) => {
    await using names = await openNameServer({
      'example.com': { MX: [[10, 'mx.example.com']] },
      'mx.example.com': address.includes(':') ? { AAAA: [address] } : { A: [address] },
    })
    await using running = startDelivery(settings(undefined), {
      resolver: openResolver({ servers: [names.server], clock: () => 0 }),
    })
    await running.queue.append(message(['user@example.com'], { sender: '' }))
    await running.queue.settledUntil(isEmpty)
    expect(outcomesOf(running.queue)).toEqual(['0 bounced Unroutable 550 5.4.6'])
  },
)

test('mail that goes back too old takes a place like any other', async () => {
  await using provider = await openProvider({ name: 'hangs', behaviour: { rules: [{ at: 'rcpt', times: 1, action: { do: 'hang' } }] } })
  await using running = startDelivery(settings(provider), { tuning: { maxTransactions: 1 } })
  await running.queue.append(message(['user@example.com']))
  await expect.poll(() => provider.counts().open, LONG).toBe(1)
  await running.queue.append({ ...message(['late@example.net']), acceptedAt: 0 })
  running.advance(11 * 60_000)
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  provider.closeConnections()
  await running.queue.settledUntil(afterSettles(2))
  expect(running.queue.settled.map(({ destination }) => destination)).toEqual(['example.com', 'example.net'])
})

test('an address literal is its own host (RFC 5321 section 4.1.3)', async () => {
  await using provider = await openProvider({ name: 'literal' })
  await using running = startDelivery(settings(undefined), { tuning: { smtpPort: provider.port } })
  await running.queue.append(message(['user@[127.0.0.1]']))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals()[0]?.recipients).toEqual([{ address: 'user@[127.0.0.1]', parameters: [] }])
})

test('a next hop whose name does not exist leaves mail deferred: the mistake is not the sender’s', async () => {
  await using names = await openNameServer({})
  const routes = [{ domain: '*', nextHop: { host: 'relay.example', port: 25 } }]
  await using running = startDelivery(settings(undefined, { routes }), {
    resolver: openResolver({ servers: [names.server], clock: () => 0 }),
  })
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(afterSettles(1))
  expect(outcomesOf(running.queue)).toEqual(['0 deferred destination 451 4.4.4'])
  expect(names.questions.toSorted()).toEqual(['A relay.example', 'AAAA relay.example'])
})

test.each([
  ['NoSuchDomain 550 5.1.2', {}],
  ['NullMx 556 5.1.10', { 'example.com': { MX: [[0, '.']] } }],
  ['Unroutable 550 5.4.6', { 'example.com': { MX: [[5, 'out5.example.org']] } }],
  ['Unroutable 550 5.4.4', { 'example.com': {} }],
] as const)('a domain that cannot take mail bounces: %s', async (wanted, zones) => {
  await using names = await openNameServer(zones)
  await using running = startDelivery(settings(undefined), { resolver: openResolver({ servers: [names.server], clock: () => 0 }) })
  await running.queue.append(message(['user@example.com'], { sender: '' }))
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual([`0 bounced ${wanted}`])
})

test('an address the kernel has not is left out, told of, and no mail bounces for it', async () => {
  await using provider = await openProvider({ name: 'plain' })
  const away = { address: '203.0.113.9', hostName: 'away.example.org' }
  const here = { address: '127.0.0.6', hostName: 'out6.example.org' }
  let changes = 0
  await using running = startDelivery(settings(provider, { addresses: [away] }), { onAddresses: () => void (changes += 1) })
  await running.queue.append(message(['user@example.com']))
  await expect.poll(() => running.scheduler.unavailableAddresses(), LONG).toMatchObject([{ address: '203.0.113.9', code: 'EADDRNOTAVAIL' }])
  expect(running.queue.totals()).toMatchObject({ recipients: 1, deferred: 0 })
  expect(changes).toBeGreaterThan(0)
  running.change(settings(provider, { addresses: [here] }))
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals()[0]).toMatchObject({ sourceAddress: '127.0.0.6', hello: 'out6.example.org' })
  expect(running.scheduler.unavailableAddresses()).toEqual([])
})

test('a large destination sees every source address', async () => {
  await using provider = await openProvider({ name: 'slow', behaviour: { replyDelayMillis: 2 } })
  const addresses = [5, 6, 7, 8].map((last) => ({ address: `127.0.0.${last}`, hostName: `out${last}.example.org` }))
  await using running = startDelivery(
    settings(provider, { addresses, delivery: { maxConnectionsPerDestination: 8, maxMessagesPerConnection: 100 } }),
  )
  await Promise.all(Array.from({ length: 40 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(isEmpty)
  expect([...new Set(provider.arrivals().map(({ sourceAddress, hello }) => `${sourceAddress} ${hello}`))].toSorted()).toEqual(
    addresses.map(({ address, hostName }) => `${address} ${hostName}`),
  )
})

test('greylisted mail comes back from the address that was greylisted', async () => {
  await using provider = await openProvider({ name: 'grey', behaviour: { greylist: { delaySeconds: 0 } } })
  const addresses = [5, 6, 7, 8].map((last) => ({ address: `127.0.0.${last}`, hostName: `out${last}.example.org` }))
  await using running = startDelivery(settings(provider, { addresses }))
  await Promise.all(Array.from({ length: 12 }, (_, at) => running.queue.append(message([`user${at}@example.com`]))))
  await running.queue.settledUntil(afterSettles(12))
  running.advance(300_000)
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual([
    ...Array.from({ length: 12 }, () => '0 deferred recipient 451 4.7.1'),
    ...Array.from({ length: 12 }, () => '0 delivered 250 2.0.0'),
  ])
  expect(new Set(provider.arrivals().map(({ sourceAddress }) => sourceAddress)).size).toBeGreaterThan(1)
})

test('a source address that a host will not have for now leaves its mail to the others', async () => {
  const rules = [
    { at: 'mail', match: { sourceAddress: '127.0.0.5' }, action: { do: 'reply', reply: REPLIES.microsoftRateLimited } },
  ] as const
  await using provider = await openProvider({ name: 'picky', behaviour: { rules: [...rules] } })
  const addresses = [5, 6].map((last) => ({ address: `127.0.0.${last}`, hostName: `out${last}.example.org` }))
  await using running = startDelivery(
    settings(provider, { addresses, delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 100 } }),
  )
  await Promise.all(Array.from({ length: 40 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(afterSettles(40))
  const outcomes = outcomesOf(running.queue)
  expect(outcomes.filter((outcome) => outcome === '0 deferred route 451 4.7.650').length).toBe(3)
  expect(provider.arrivals().length).toBe(37)
})

test('an address taken out of the settings is in use until its last connection is closed', async () => {
  await using provider = await openProvider({ name: 'slow', behaviour: { rules: [{ at: 'dot', action: { do: 'delay', millis: 200 } }] } })
  const five = { address: '127.0.0.5', hostName: 'out5.example.org' }
  const six = { address: '127.0.0.6', hostName: 'out6.example.org' }
  const told: (readonly string[])[] = []
  const running = startDelivery(settings(provider, { addresses: [five] }), {
    onAddresses: () => void told.push(running.scheduler.usedAddresses()),
  })
  await using _ = running
  await running.queue.append(message(['user@example.com']))
  await expect.poll(() => provider.counts().open, LONG).toBe(1)
  running.change(settings(provider, { addresses: [six] }))
  expect(running.scheduler.usedAddresses()).toEqual(['127.0.0.6', '127.0.0.5'])
  await running.queue.settledUntil(isEmpty)
  await expect.poll(() => told, LONG).toEqual([['127.0.0.6']])
})

test('three failures close the gate: the backlog is neither tried nor counted as tried, one probe opens it', async () => {
  await using provider = await openProvider({ name: 'down', behaviour: { listening: 'refused' } })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 100 } }))
  await Promise.all(Array.from({ length: 10 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(afterSettles(3))
  await expect.poll(() => running.scheduler.inFlight(), LONG).toBe(0)
  expect(running.queue.totals()).toMatchObject({ messages: 10, deferred: 3 })
  await provider.behave({ listening: 'open' })
  running.advance(61_000)
  await running.queue.settledUntil(afterSettles(10))
  expect(provider.arrivals().length).toBe(7)
})

test('a host that takes few connections at a time gets few: no refusal of a connection is counted as an attempt', async () => {
  await using provider = await openProvider({ name: 'narrow', behaviour: { connectionsPerSource: { limit: 3 }, replyDelayMillis: 2 } })
  await using running = startDelivery(settings(provider))
  await Promise.all(Array.from({ length: 60 }, () => running.queue.append(message(['user@example.com']))))
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual(Array.from({ length: 60 }, () => '0 delivered 250 2.0.0'))
})

test('a host that is full of sessions for one domain is waited for by another', async () => {
  await using provider = await openProvider({ name: 'narrow', behaviour: { connectionsPerSource: { limit: 1 }, replyDelayMillis: 20 } })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 1 } }))
  await Promise.all(['a', 'b', 'c'].map((domain) => running.queue.append(message([`user@${domain}.example`]))))
  await expect
    .poll(
      () => {
        running.advance(10_000)
        return isEmpty(running.queue)
      },
      { interval: 100, timeout: 30_000 },
    )
    .toBe(true)
  expect(outcomesOf(running.queue)).toEqual(Array.from({ length: 3 }, () => '0 delivered 250 2.0.0'))
})

test('held mail stays, and leaves when the hold ends', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using running = startDelivery(settings(provider, { mode: 'Hold' }))
  await running.queue.append(message(['user@example.com']))
  running.advance(500_000_000)
  expect(running.queue.totals().messages).toBe(1)
  running.change(settings(provider))
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual(['0 delivered 250 2.0.0'])
})

test('stop lets running transactions finish and begins no others', async () => {
  await using provider = await openProvider({ name: 'slow', behaviour: { replyDelayMillis: 20 } })
  await using running = startDelivery(settings(provider, { delivery: { maxConnectionsPerDestination: 2, maxMessagesPerConnection: 100 } }))
  await Promise.all(Array.from({ length: 200 }, () => running.queue.append(message(['user@example.com']))))
  await provider.waitForArrivals(1, never)
  await running.scheduler.stop(60_000)
  const left = running.queue.totals().messages
  expect(left).toBeGreaterThan(100)
  expect([running.scheduler.inFlight(), provider.arrivals().length, running.queue.settled.length]).toEqual([0, 200 - left, 200 - left])
  await expect.poll(() => provider.counts().open, LONG).toBe(0)
})

test('stop cuts off after the grace, and what was cut is due again and not counted as tried', async () => {
  await using provider = await openProvider({ name: 'hangs', behaviour: { rules: [{ at: 'rcpt', action: { do: 'hang' } }] } })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com']))
  await expect.poll(() => provider.counts().open, LONG).toBe(1)
  await running.scheduler.stop(50)
  expect(running.queue.settled).toEqual([])
  expect(running.queue.takeDue(Date.now(), 10)).toMatchObject([{ attempts: 0 }])
})

test.each([
  ['larger than the host takes', { capabilities: { size: 1000 } }, {}, 'x'.repeat(2000), '5.3.4'],
  ['8-bit, to a host without 8BITMIME', { capabilities: { eightBitMime: false } }, { body: '8BITMIME' }, 'ä', '5.6.3'],
  [
    'to an internationalised address, at a host without SMTPUTF8',
    {},
    { smtpUtf8: true, recipients: [recipient('jörg@example.com')] },
    'x',
    '5.6.7',
  ],
] as const)('a message that is %s bounces without being offered', async (_what, behaviour, envelope, body, status) => {
  await using provider = await openProvider({
    name: 'old',
    behaviour: { capabilities: { ...('capabilities' in behaviour ? behaviour.capabilities : {}) } },
  })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com'], { sender: '', ...envelope }, `${body}\r\n`))
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual([`0 bounced Unsupported 554 ${status}`])
})

test('ASCII mail whose client said SMTPUTF8 goes to any host', async () => {
  await using provider = await openProvider({ name: 'old' })
  await using running = startDelivery(settings(provider))
  await running.queue.append(message(['user@example.com'], { smtpUtf8: true }))
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual(['0 delivered 250 2.0.0'])
})

test('DSN parameters are passed on to a host that offers DSN', async () => {
  await using provider = await openProvider({ name: 'dsn', behaviour: { capabilities: { dsn: true } } })
  await using running = startDelivery(settings(provider))
  const to = recipient('user@example.com', { notify: ['SUCCESS', 'DELAY'], originalRecipient: 'rfc822;first+tag@example.com' })
  const sent = message([to], { returnContent: 'HDRS', envelopeId: 'QQ=314' })
  await running.queue.append(sent)
  await running.queue.settledUntil(isEmpty)
  expect(provider.arrivals()[0]).toMatchObject({
    senderParameters: [`SIZE=${sent.content.length}`, 'RET=HDRS', 'ENVID=QQ+3D314'],
    recipients: [{ address: 'user@example.com', parameters: ['NOTIFY=SUCCESS,DELAY', 'ORCPT=rfc822;first+2Btag@example.com'] }],
  })
  expect(running.queue.reports).toEqual([])
})

test('too old: one last attempt, then a report', async () => {
  await using provider = await openProvider({
    name: 'full',
    behaviour: { rules: [{ at: 'rcpt', match: { localPart: 'full' }, action: { do: 'reply', reply: '452 4.2.2 Mailbox full' } }] },
  })
  await using running = startDelivery(settings(provider, { queue: { retrySeconds: [3600], maxAgeSeconds: 600 } }))
  await running.queue.append(message(['full@example.com']))
  await running.queue.settledUntil(afterSettles(1))
  running.advance(600_000)
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual(['0 deferred recipient 452 4.2.2', '0 bounced Expired 452 4.4.7', '0 delivered 250 2.0.0'])
  expect(provider.arrivals()).toMatchObject([{ sender: '', recipients: [{ address: 'sender@example.org' }] }])
})

test('too old and not to be dialled: returned without an attempt', async () => {
  await using down = await openProvider({ name: 'down', behaviour: { listening: 'refused' } })
  await using running = startDelivery(
    settings(down, {
      queue: { retrySeconds: [3600], maxAgeSeconds: 600 },
      delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 1 },
    }),
  )
  await Promise.all(Array.from({ length: 5 }, () => running.queue.append(message(['user@example.com'], { sender: '' }))))
  await running.queue.settledUntil(afterSettles(3))
  running.advance(59_000)
  running.advance(700_000)
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue).filter((outcome) => outcome.includes('Expired')).length).toBe(5)
})

test('the default timeouts are those of RFC 5321 section 4.5.3.2', () => {
  const minute = 60_000
  expect(DEFAULT_TUNING.timeouts).toMatchObject({
    greeting: 5 * minute,
    mail: 5 * minute,
    rcpt: 5 * minute,
    data: 2 * minute,
    block: 3 * minute,
    dot: 10 * minute,
  })
})
