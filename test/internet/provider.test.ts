import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { expect, test } from 'vitest'
import type { Arrival } from './arrival.ts'
import { type BehaviourInput, REPLIES } from './behaviour.ts'
import { sha256 } from './content.ts'
import { openProvider, type Provider } from './provider.ts'

const MESSAGE = 'Message-ID: <one@client.example>\r\nSubject: hello\r\n\r\nDear reader,\r\n.a line with a dot\r\n'
const BODY = 'Dear reader,\r\n.a line with a dot\r\n'

test('a plain provider takes a message and writes down what arrived', async () => {
  await using provider = await openProvider({ name: 'plain', keep: 'content' })
  await using client = await connectTo(provider)
  await client.send({ from: 'a@senders.example', to: ['b@plain.example', 'c@plain.example'] }, MESSAGE)
  const [arrival] = await provider.waitForArrivals(1, AbortSignal.timeout(5000))
  expect(arrival).toEqual({
    provider: 'plain',
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    outcome: 'arrived',
    reply: '250 2.0.0 Taken as 1.1',
    session: 1,
    transaction: 1,
    sourceAddress: '127.0.0.1',
    host: '127.0.0.1',
    hello: 'client.example',
    tls: null,
    sender: 'a@senders.example',
    senderParameters: [],
    recipients: [
      { address: 'b@plain.example', parameters: [] },
      { address: 'c@plain.example', parameters: [] },
    ],
    refusedRecipients: [],
    messageId: '<one@client.example>',
    size: MESSAGE.length,
    contentHash: sha256(Buffer.from(MESSAGE)),
    bodyHash: sha256(Buffer.from(BODY)),
  } satisfies Arrival)
  expect(provider.contentOf(arrival!)?.toString()).toBe(MESSAGE)
})

test('every transaction that is begun is written down, whatever comes of it', async () => {
  await using provider = await openProvider({
    name: 'busy',
    behaviour: { rules: [{ at: 'mail', times: 1, action: { do: 'reply', reply: '451 4.3.0 Later' } }] },
  })
  await talk(provider, [
    'EHLO c',
    'MAIL FROM:<a@x.example>',
    'MAIL FROM:<a@x.example>',
    'MAIL FROM:<b@x.example>',
    'RSET',
    'MAIL FROM:<c@x.example>',
  ])
  const at = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  // The third MAIL came within a transaction: it began nothing.
  expect(provider.beginnings()).toEqual(Array.from({ length: 3 }, () => ({ provider: 'busy', session: 1, sourceAddress: '127.0.0.1', at })))
  expect(provider.arrivals()).toEqual([])
  provider.clearArrivals()
  expect(provider.beginnings()).toEqual([])
})

test.each([
  ['good', 'trusted'],
  ['selfSigned', 'self-signed certificate'],
  [
    'wrongName',
    "Hostname/IP does not match certificate's altnames: Host: mx.secure.example. is not in the cert's altnames: DNS:somebody-else.example",
  ],
  ['expired', 'certificate has expired'],
] as const)('a provider whose certificate is %s looks like it to a client that checks', async (tls, want) => {
  await using provider = await openProvider({ name: 'secure', behaviour: { tls } })
  expect(await certificateVerdict(provider)).toContain(want)
})

test('what is sent after STARTTLS is written down with protocol and cipher', async () => {
  await using provider = await openProvider({ name: 'secure', behaviour: { tls: 'good' } })
  await using client = await connectTo(provider, { tls: { ca: provider.authority.certificate } })
  await client.send({ from: 'a@senders.example', to: ['b@secure.example'] }, MESSAGE)
  expect(provider.arrivals().map(({ tls, hello }) => ({ tls, hello }))).toEqual([
    { tls: { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384' }, hello: 'client.example' },
  ])
})

test('greylisting defers an unknown triplet until its delay is over', async () => {
  await using provider = await openProvider({ name: 'grey', behaviour: { greylist: { delaySeconds: 0.2 } } })
  const envelope = ['MAIL FROM:<a@x.example>', 'RCPT TO:<b@grey.example>']
  expect((await talk(provider, ['EHLO c', ...envelope])).at(-1)).toBe('451 4.7.1 Greylisted, please try again later')
  await expect
    .poll(async () => (await talk(provider, ['EHLO c', ...envelope])).at(-1), { timeout: 30_000 })
    .toBe('250 2.1.5 Recipient accepted')
  expect((await talk(provider, ['EHLO c', 'MAIL FROM:<other@x.example>', 'RCPT TO:<b@grey.example>'])).at(-1)).toMatch(/^451 /)
})

test('throttling counts per source address and names it', async () => {
  const throttle = { messages: 1, intervalSeconds: 3600, reply: REPLIES.microsoftRateLimited }
  await using provider = await openProvider({ name: 'throttling', addresses: ['127.0.0.1'], behaviour: { throttle } })
  const ask = async (localAddress: string) => (await talk(provider, ['EHLO c', 'MAIL FROM:<a@x.example>'], { localAddress })).at(-1)
  expect(await ask('127.0.0.11')).toBe('250 2.1.0 Sender accepted')
  expect(await ask('127.0.0.11')).toMatch(/^451 4\.7\.650 The mail server \[127\.0\.0\.11\] has been temporarily rate limited/)
  expect(await ask('127.0.0.12')).toBe('250 2.1.0 Sender accepted')
})

test('a reply of 421 closes the connection after it', async () => {
  const behaviour: BehaviourInput = { rules: [{ at: 'mail', action: { do: 'reply', reply: REPLIES.yahooDeferred } }] }
  await using provider = await openProvider({ name: 'yahoo', behaviour })
  const said = await talk(provider, ['EHLO c', 'MAIL FROM:<a@x.example>', 'NOOP'])
  expect(said.slice(-2)).toEqual([expect.stringMatching(/^421 4\.7\.0 \[TSS04\] Messages from 127\.0\.0\.1 temporarily/), 'closed'])
})

test('a rule with times acts so often and then no more', async () => {
  const behaviour: BehaviourInput = { rules: [{ at: 'rcpt', times: 2, action: { do: 'reply', reply: REPLIES.mailboxFull } }] }
  await using provider = await openProvider({ name: 'flaky', behaviour })
  const said = await talk(provider, ['EHLO c', 'MAIL FROM:<a@x.example>', ...Array.from({ length: 3 }, () => 'RCPT TO:<b@flaky.example>')])
  expect(said.slice(-3)).toEqual([REPLIES.mailboxFull, REPLIES.mailboxFull, '250 2.1.5 Recipient accepted'])
})

test('recipients are refused by local part, and the rest of the message arrives', async () => {
  const behaviour: BehaviourInput = {
    rules: [{ at: 'rcpt', match: { localPart: 'nobody*' }, action: { do: 'reply', reply: '550 5.1.1 No such user' } }],
  }
  await using provider = await openProvider({ name: 'refusing', behaviour })
  await using client = await connectTo(provider)
  const info = await client.send({ from: 'a@x.example', to: ['nobody1@r.example', 'somebody@r.example'] }, MESSAGE)
  expect(info.rejected).toEqual(['nobody1@r.example'])
  expect(provider.arrivals().map(({ recipients, refusedRecipients }) => ({ recipients, refusedRecipients }))).toEqual([
    { recipients: [{ address: 'somebody@r.example', parameters: [] }], refusedRecipients: ['nobody1@r.example'] },
  ])
})

const UP_TO_DOT = ['EHLO c', 'MAIL FROM:<a@x.example>', 'RCPT TO:<b@x.example>', 'DATA', 'Subject: x\r\n\r\nbody\r\n.']
test.each([
  ['connect', [], 0],
  ['greeting', [], 0],
  ['ehlo', UP_TO_DOT.slice(0, 1), 1],
  ['mail', UP_TO_DOT.slice(0, 2), 2],
  ['rcpt', UP_TO_DOT.slice(0, 3), 3],
  ['data', UP_TO_DOT.slice(0, 4), 4],
  ['content', UP_TO_DOT, 5],
  ['dot', UP_TO_DOT, 5],
  ['quit', [...UP_TO_DOT, 'QUIT'], 6],
] as const)('it hangs or closes at %s', async (at, lines, answered) => {
  await using provider = await openProvider({ name: 'odd', behaviour: { rules: [{ at, action: { do: 'hang' } }] } })
  const hung = await talk(provider, lines, { quietOnce: (heard) => heard.length >= answered })
  await provider.behave({ rules: [{ at, action: { do: 'close' } }] })
  const closed = await talk(provider, lines)
  expect({ hung: hung.at(-1), heard: hung.length, closed: closed.at(-1) }).toEqual({
    hung: 'silence',
    heard: answered + 1,
    closed: 'closed',
  })
})

test('it hangs and closes in the middle of a reply', async () => {
  await using provider = await openProvider({
    name: 'odd',
    behaviour: { rules: [{ at: 'greeting', action: { do: 'hang', afterBytes: 5 } }] },
  })
  expect(await talk(provider, [], { quietOnce: (_heard, pending) => pending.length >= 5 })).toEqual(['220 m', 'silence'])
  await provider.behave({ rules: [{ at: 'greeting', action: { do: 'close', afterBytes: 6, how: 'fin' } }] })
  expect(await talk(provider, [])).toEqual(['220 mx', 'closed'])
})

test.each(['hang', 'close'] as const)('a %s at the dot is written down, but has not arrived', async (how) => {
  await using provider = await openProvider({ name: 'odd', behaviour: { rules: [{ at: 'dot', action: { do: how } }] } })
  await talk(provider, UP_TO_DOT, { quietOnce: (heard) => heard.length >= 5 })
  await expect
    .poll(() => provider.arrivals().map(({ outcome, reply }) => ({ outcome, reply })))
    .toEqual([{ outcome: how === 'hang' ? 'hungAfterDot' : 'closedAfterDot', reply: '' }])
  expect(provider.counts().outcomes.arrived).toBe(0)
})

test.each(['starttls', 'tls'] as const)('it hangs at %s', async (at) => {
  await using provider = await openProvider({ name: 'odd', behaviour: { tls: 'good', rules: [{ at, action: { do: 'hang' } }] } })
  await expect(connectTo(provider, { requireTLS: true, greetingTimeout: 200, connectionTimeout: 200, socketTimeout: 200 })).rejects.toThrow(
    /timeout|timed out/i,
  )
  expect(provider.counts().sessions).toBe(1)
})

test('a provider that refuses connections does so on the same port, and can be opened again', async () => {
  await using provider = await openProvider({ name: 'dead', behaviour: { listening: 'refused' } })
  await expect(talk(provider, [])).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  // A socket has the port, so that the kernel gives it to nobody who asks for a free one.
  const inHex = provider.port.toString(16).toUpperCase().padStart(4, '0')
  expect(readFileSync('/proc/net/tcp', 'utf8')).toContain(`: 0100007F:${inHex} `)
  const port = provider.port
  await provider.behave({ listening: 'open' })
  expect({ said: (await talk(provider, []))[0], port: provider.port }).toEqual({ said: '220 mx.dead.example ESMTP', port })
})

test('capabilities are what EHLO says and what is enforced', async () => {
  const capabilities = { pipelining: false, eightBitMime: false, enhancedStatusCodes: false, dsn: true, size: 1000 }
  await using provider = await openProvider({ name: 'bare', behaviour: { capabilities } })
  const said = await talk(provider, [
    'EHLO c',
    'MAIL FROM:<a@x.example> BODY=8BITMIME',
    'MAIL FROM:<a@x.example> SIZE=1001',
    'MAIL FROM:<a@x.example>',
  ])
  expect(said).toEqual([
    '220 mx.bare.example ESMTP',
    '250-mx.bare.example\n250-SIZE 1000\n250 DSN',
    '555 BODY is not offered',
    '552 Message too big',
    '250 Sender accepted',
  ])
})

test('a slow provider says everything, later', async () => {
  await using provider = await openProvider({ name: 'slow', behaviour: { replyDelayMillis: 30 } })
  await using client = await connectTo(provider)
  const began = performance.now()
  await client.send({ from: 'a@x.example', to: ['b@slow.example'] }, MESSAGE)
  expect(performance.now() - began).toBeGreaterThan(100)
  expect(provider.counts().outcomes.arrived).toBe(1)
})

test('more connections than a source address may have are sent off', async () => {
  await using provider = await openProvider({ name: 'busy', behaviour: { connectionsPerSource: { limit: 1 } } })
  await using first = await connectTo(provider)
  expect((await talk(provider, []))[0]).toMatch(/^421 4\.7\.652 The mail server \[127\.0\.0\.1\] has exceeded/)
  await first.send({ from: 'a@x.example', to: ['b@busy.example'] }, MESSAGE)
})

test('after its messages per connection it closes without a word', async () => {
  await using provider = await openProvider({ name: 'yahoo', behaviour: { messagesPerConnection: 1 } })
  const said = await talk(provider, [...UP_TO_DOT, 'MAIL FROM:<a@x.example>'])
  expect(said.slice(-2)).toEqual(['250 2.0.0 Taken as 1.1', 'closed'])
})

test('a full memory is answered with 452, not with a message that nobody wrote down', async () => {
  await using provider = await openProvider({ name: 'full', capacity: 1 })
  const said = await talk(provider, [...UP_TO_DOT, 'MAIL FROM:<a@x.example>'])
  expect(said.at(-1)).toBe('452 4.3.1 No room to write down more')
})

test('over LMTP every recipient has its own reply, and XFORWARD says who the client was', async () => {
  await using provider = await openProvider({ name: 'postfix', protocol: 'lmtp' })
  const lines = [
    'LHLO c',
    'XFORWARD ADDR=192.0.2.11 HELO=mta-11.senders.example',
    'MAIL FROM:<>',
    'RCPT TO:<a@x.example>',
    'RCPT TO:<b@x.example>',
    'DATA',
  ]
  const said = await talk(provider, [...lines, 'Subject: x\r\n\r\nbody\r\n.', 'NOOP'])
  expect(said.slice(-2)).toEqual(['250 2.0.0 Taken as 1.1', '250 2.0.0 Taken as 1.1'])
  expect(provider.arrivals().map(({ sourceAddress, hello, sender }) => ({ sourceAddress, hello, sender }))).toEqual([
    { sourceAddress: '192.0.2.11', hello: 'mta-11.senders.example', sender: '' },
  ])
})

test('a wrong behaviour is refused with the field and what it must be', async () => {
  await expect(
    openProvider({ name: 'wrong', behaviour: { rules: [{ at: 'tls', action: { do: 'reply', reply: '450 x' } }] } }),
  ).rejects.toThrow('must be hang, close or delay')
  await expect(
    openProvider({ name: 'wrong', behaviour: { throttle: { messages: 1, intervalSeconds: 1, reply: 'go away' } } }),
  ).rejects.toThrow(/must be "CODE text"[\s\S]*throttle\.reply/)
})

type Client = AsyncDisposable & {
  send(envelope: { from: string; to: readonly string[] }, message: string): Promise<{ rejected: readonly string[] }>
}

async function connectTo(provider: Provider, options: object = {}): Promise<Client> {
  const connection = new SMTPConnection({
    host: provider.address,
    port: provider.port,
    name: 'client.example',
    servername: provider.hostName,
    ...options,
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  connection.on('error', reject)
  connection.connect((error) => (error ? reject(error) : resolve()))
  await promise
  return {
    async send(envelope, message) {
      const sent = Promise.withResolvers<{ rejected: readonly string[] }>()
      connection.send({ from: envelope.from, to: [...envelope.to] }, message, (error, info) =>
        error ? sent.reject(error) : sent.resolve(info!),
      )
      return await sent.promise
    },
    [Symbol.asyncDispose]: async () => connection.close(),
  }
}

async function certificateVerdict(provider: Provider): Promise<string> {
  try {
    await using _client = await connectTo(provider, { requireTLS: true, tls: { ca: provider.authority.certificate } })
    return 'trusted'
  } catch (error) {
    return (error as Error).message
  }
}

type Talk = {
  readonly localAddress?: string
  /** From when on saying nothing for 150 ms counts as silence: never before all is heard that must be, however slow the machine. */
  readonly quietOnce?: (heard: readonly string[], pending: string) => boolean
}

/** Says the lines one after the other, each once the one before was answered; what was heard, and `closed` or `silence` where an answer is missing. */
async function talk(provider: Provider, lines: readonly string[], options: Talk = {}): Promise<string[]> {
  const { localAddress = '127.0.0.1', quietOnce = () => false } = options
  const socket = connect({ host: provider.address, port: provider.port, localAddress })
  const heard: string[] = []
  let pending = ''
  let left = [...lines]
  const { promise, resolve, reject } = Promise.withResolvers<'closed' | 'silence' | 'answered'>()
  socket.on('error', reject)
  socket.on('close', () => resolve('closed'))
  const listen = () => socket.setTimeout(quietOnce(heard, pending) ? 150 : 5000)
  socket.on('timeout', () => resolve('silence'))
  listen()
  socket.on('data', (chunk: Buffer) => {
    pending += chunk.toString()
    for (
      let whole = /^(?:\d{3}-[^\n]*\r\n)*\d{3} [^\n]*\r\n/.exec(pending);
      whole;
      whole = /^(?:\d{3}-[^\n]*\r\n)*\d{3} [^\n]*\r\n/.exec(pending)
    ) {
      pending = pending.slice(whole[0].length)
      heard.push(whole[0].trimEnd().replaceAll('\r\n', '\n'))
      const next = left.shift()
      if (next !== undefined) socket.write(`${next}\r\n`)
      if (heard.length > lines.length) resolve('answered')
    }
    listen()
  })
  try {
    const end = await promise
    return [...heard, ...(pending === '' ? [] : [pending]), ...(end === 'answered' ? [] : [end])]
  } finally {
    socket.destroy()
  }
}
