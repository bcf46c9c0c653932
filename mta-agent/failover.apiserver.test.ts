import { expect, test, vi } from 'vitest'
import { ANNOTATIONS } from '#crds/group.ts'
import { type Accepted, runLoad } from '#test/internet/load.ts'
import { openProvider, type Provider } from '#test/internet/provider.ts'
import { allArrived as allOfThemArrived, inSync, leads, openRunningPair } from '#test/cluster/running-pair.ts'
import type { ShardAgent } from '#test/cluster/shard-of-agents.ts'
import { waitFor } from '#test/support/wait.ts'

/** Two agents of a shard as processes, with real TLS between them and a real API server: what is lost and what is late when one goes. */

vi.setConfig({ testTimeout: 180_000 })

/** Hands in as fast as it goes until it is told to stop, or `count`. */
function submit(agent: ShardAgent, run: string, more: { readonly count?: number; readonly stop?: AbortSignal }) {
  const accepted: Accepted[] = []
  const running = runLoad(
    {
      server: { host: '127.0.0.1', port: agent.port, tls: 'none' },
      mix: {
        run,
        sender: 'load@senders.example',
        domains: ['plain.example'],
        recipientsPerMessage: 1,
        sizes: [{ bytes: 4_000, weight: 1 }],
      },
      connections: 8,
      ...(more.count === undefined ? {} : { count: more.count }),
      backOffMillis: { first: 100, most: 1_000 },
      onAccepted: (one) => accepted.push(one),
    },
    more.stop ?? new AbortController().signal,
  )
  return { accepted, running }
}

const arrived = (provider: Provider) => provider.arrivals().filter(({ outcome }) => outcome === 'arrived')

const allArrived = (provider: Provider, accepted: readonly Accepted[]) => allOfThemArrived(() => arrived(provider), accepted)

test('a primary that is killed loses nothing that it acknowledged, and its standby is primary within ten seconds', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  // Nothing leaves the first one, so that all of it is the standby's to deliver.
  await provider.behave({
    rules: [{ at: 'rcpt', match: { sourceAddress: a.sourceAddress }, action: { do: 'reply', reply: '451 4.2.1 later' } }],
  })
  const stop = new AbortController()
  const load = submit(a, 'first', { stop: stop.signal })
  await waitFor('some mail', () => load.accepted.length > 300, { everyMillis: 10 })
  const killedAt = performance.now()
  a.kill('SIGKILL')
  stop.abort()
  const { accepted } = await load.running
  expect(accepted.length).toBeGreaterThan(300)
  await leads(b)
  const took = performance.now() - killedAt
  await allArrived(provider, accepted)
  expect(new Set(arrived(provider).map(({ sourceAddress }) => sourceAddress))).toEqual(new Set([b.sourceAddress]))
  expect(await shard.endpoint()).toBe('192.0.2.2')
  expect((await b.status())?.lastFailover).toMatchObject({ reason: 'PrimaryLost' })
  expect(took).toBeLessThan(10_000)
})

test('a primary that is stopped is replaced; when it wakes it sends nothing, follows, and is in sync again', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  const first = await submit(a, 'first', { count: 200 }).running
  const stop = new AbortController()
  const load = submit(a, 'second', { stop: stop.signal })
  await waitFor('some mail', () => load.accepted.length > 50, { everyMillis: 10 })
  a.kill('SIGSTOP')
  const stoppedAt = performance.now()
  await leads(b)
  const took = performance.now() - stoppedAt
  const third = await submit(b, 'third', { count: 100 }).running
  await allArrived(provider, [...first.accepted, ...load.accepted, ...third.accepted])
  provider.clearArrivals()
  a.kill('SIGCONT')
  stop.abort()
  await load.running
  await waitFor('the old primary as standby', async () => (await a.status())?.role === 'Standby')
  await inSync(b, 2)
  const fourth = await submit(b, 'fourth', { count: 50 }).running
  await allArrived(provider, fourth.accepted)
  expect(arrived(provider).filter(({ sourceAddress }) => sourceAddress === a.sourceAddress)).toEqual([])
  expect(took).toBeLessThan(13_000)
})

test('a switchover that is asked for takes two seconds at most, loses nothing and sends nothing twice', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  const stop = new AbortController()
  const load = submit(a, 'first', { stop: stop.signal })
  await waitFor('some mail', () => load.accepted.length > 100, { everyMillis: 10 })
  const { epoch } = (await a.status())!
  await a.ask({ [ANNOTATIONS.switchover]: String(epoch) })
  await leads(b)
  stop.abort()
  const { accepted } = await load.running
  const second = await submit(b, 'second', { count: 50 }).running
  await allArrived(provider, [...accepted, ...second.accepted])
  expect(arrived(provider).length - new Set(arrived(provider).map(({ messageId }) => messageId)).size).toBe(0)
  const status = (await b.status())!
  expect(status).toMatchObject({ epoch: epoch + 1, lastFailover: { reason: 'Switchover' } })
  expect(status.lastFailover!.durationMillis).toBeLessThan(2_000)
  await inSync(b, 2)
})

test('a primary whose process is to end hands over first', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  const first = await submit(a, 'first', { count: 50 }).running
  a.kill('SIGTERM')
  await leads(b)
  const second = await submit(b, 'second', { count: 50 }).running
  await allArrived(provider, [...first.accepted, ...second.accepted])
  const { lastFailover } = (await b.status())!
  expect(lastFailover?.reason).toBe('Switchover')
  expect(lastFailover?.durationMillis).toBeLessThan(3_000)
})

test('a primary that is told to end as soon as it has handed over gives its word first, so that its heir need not wait', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  await a.ask({ [ANNOTATIONS.switchover]: String((await a.status())!.epoch) })
  await waitFor('the end of the reign', () => a.lines.some(({ msg }) => msg === 'stepped down'), { everyMillis: 1 })
  a.kill('SIGTERM')
  const last = await waitFor('the heir to act', async () => (await b.status())?.lastFailover, { everyMillis: 100 })
  expect(last.reason).toBe('Switchover')
  expect(last.durationMillis).toBeLessThan(2_000)
})

test('a standby that ends in order holds up nobody', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  const stop = new AbortController()
  const load = submit(a, 'first', { stop: stop.signal })
  await waitFor('some mail', () => load.accepted.length > 100, { everyMillis: 10 })
  b.kill('SIGTERM')
  await inSync(a, 1)
  const before = load.accepted.length
  await waitFor('more mail', () => load.accepted.length > before + 100, { everyMillis: 10 })
  stop.abort()
  const { accepted } = await load.running
  const times = accepted.map(({ acceptedAt }) => Date.parse(acceptedAt)).toSorted((one, other) => one - other)
  expect(Math.max(...times.slice(1).map((at, index) => at - times[index]!))).toBeLessThan(2_000)
})

test('an API server that is away stops no mail; a killed primary comes back as standby and takes what it lacks', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  await shard.server.stop()
  await new Promise((resolve) => setTimeout(resolve, 8_000))
  const first = await submit(a, 'first', { count: 100 }).running
  await allArrived(provider, first.accepted)
  await shard.server.start()
  a.kill('SIGKILL')
  await leads(b)
  const second = await submit(b, 'second', { count: 100 }).running
  a.start()
  await inSync(b, 2)
  b.kill('SIGKILL')
  await leads(a)
  const third = await submit(a, 'third', { count: 10 }).running
  await allArrived(provider, [...first.accepted, ...second.accepted, ...third.accepted])
  expect((await a.status())!.inSync).toEqual([a.name])
})

test('mail that was accepted alone comes back with its disk after a forced promotion, and is sent once', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  b.kill('SIGKILL')
  await inSync(a, 1)
  await provider.behave({
    rules: [{ at: 'rcpt', match: { sourceAddress: a.sourceAddress }, action: { do: 'reply', reply: '451 4.2.1 later' } }],
  })
  const alone = await submit(a, 'alone', { count: 60 }).running
  expect(alone.accepted).toHaveLength(60)
  a.kill('SIGKILL')
  b.start()
  await waitFor('the standby', async () => (await b.status())?.role === 'Standby')
  await b.ask({ [ANNOTATIONS.promoteGranted]: await shard.recordVersion() })
  await leads(b)
  const second = await submit(b, 'second', { count: 20 }).running
  await allArrived(provider, second.accepted)
  a.start()
  await allArrived(provider, [...alone.accepted, ...second.accepted])
  await inSync(b, 2)
  await waitFor('nothing set aside', async () => (await a.status())?.setAside === 0)
  const ids = arrived(provider).map(({ messageId }) => messageId)
  expect(ids.length).toBe(new Set(ids).size)
  expect((await b.status())!.lastFailover?.reason).toBe('Forced')
})

test('an agent whose volume claim was made anew is another copy, which keeps its mail and is taken into the set again', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider })
  const [a, b] = shard.agents
  await provider.behave({
    rules: [{ at: 'rcpt', match: { sourceAddress: a.sourceAddress }, action: { do: 'reply', reply: '451 4.2.1 later' } }],
  })
  const first = await submit(a, 'first', { count: 60 }).running
  const before = (await b.status())!.copyId
  b.kill('SIGKILL')
  await inSync(a, 1)
  b.start('a volume made anew')
  await inSync(a, 2)
  const { copyId } = (await b.status())!
  expect(copyId).not.toBe(before)
  a.kill('SIGKILL')
  await leads(b)
  await allArrived(provider, first.accepted)
  expect((await b.status())!.copyId).toBe(copyId)
})

test('the heir leaves a destination alone that the primary backs off from, and goes on counting where it was', async () => {
  await using provider = await openProvider({ name: 'plain' })
  await using shard = await openRunningPair({ nextHop: provider, retrySeconds: [60] })
  const [a, b] = shard.agents
  const handled = (agent: ShardAgent) => agent.counted('mtafleet_agent_queue_handled_total')
  expect(await handled(b)).toEqual({})
  await provider.behave({ rules: [{ at: 'connect', action: { do: 'close' } }] })
  await submit(a, 'first', { count: 40 }).running
  await waitFor('the back-off', () => a.lines.some(({ msg, to }) => msg === 'destination gate moved' && to === 'closed'))
  const { epoch } = (await a.status())!
  await a.ask({ [ANNOTATIONS.switchover]: String(epoch) })
  await leads(b)
  const { sessions } = provider.counts()
  const before = (await handled(b))['accepted']
  await submit(b, 'second', { count: 40 }).running
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  expect(provider.counts().sessions).toBe(sessions)
  expect([before, (await handled(b))['accepted'], await handled(a)]).toEqual([40, 80, {}])
})
