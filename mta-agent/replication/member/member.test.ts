import { expect, test, vi } from 'vitest'
import type { LogQueueStore } from '#agent/queue/log-queue.ts'
import { QueueFull, type QueueStore } from '#agent/queue/queue-store.ts'
import { message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { openPeerCertificates } from '#test/support/peer-certificates.ts'
import { waitFor } from '#test/support/wait.ts'
import type { FromCoordinator, ReplicationFacts, ToCoordinator } from '../coordinator/messages.ts'
import { monotonicMillis } from '../monotonic-clock.ts'
import { formatPeerName } from '../peer-name.ts'
import { openPeerTls } from '../peer-tls.ts'
import { type Member, openMember } from './member.ts'

/** The main thread of an instance, with a real queue and real TLS; the coordinator is the test. */

vi.setConfig({ testTimeout: 30_000 })
const SCOPE = { stream: 'news', namespace: 'mail' }
const FAR = NOON + 10 ** 9

type Instance = AsyncDisposable & {
  readonly member: Member
  readonly queue: LogQueueStore
  readonly said: readonly ToCoordinator[]
  readonly done: readonly string[]
  readonly port: number
  tell(message: FromCoordinator): void
  delivery(): QueueStore
}

type Shard = AsyncDisposable & {
  open(instance: string, certificate?: string, wrap?: (store: LogQueueStore) => LogQueueStore): Promise<Instance>
}

async function openShard(): Promise<Shard> {
  const stack = new AsyncDisposableStack()
  const certificates = stack.use(await openPeerCertificates())
  return {
    open: async (instance, certificate = instance, wrap = (store) => store) => {
      const opened = new AsyncDisposableStack()
      const directory = opened.use(temporaryDirectory())
      const queue = opened.use(await openQueue(directory.path, { replicated: true }))
      const inner = openPeerTls({
        directory: await certificates.directoryFor(formatPeerName(SCOPE, certificate)),
        scope: SCOPE,
        wall: Date.now,
      })
      opened.use(inner)
      let port = 0
      const tls = {
        ...inner,
        connect: inner.connect.bind(inner),
        [Symbol.dispose]: () => undefined,
        listen: async (...args: Parameters<typeof inner.listen>) => {
          const listener = await inner.listen(...args)
          port = listener.port
          return listener
        },
      }
      const said: ToCoordinator[] = []
      const done: string[] = []
      let delivery: QueueStore | undefined
      const member = opened.use(
        await openMember({
          store: wrap(queue),
          tls,
          listen: { address: '127.0.0.1', port: 0 },
          post: (one) => said.push(one),
          deeds: {
            startDelivery: (one) => {
              delivery = one
              done.push('start delivery')
            },
            stopDelivery: () => Promise.resolve(void done.push('stop delivery')),
            inFlight: () => 0,
            interruptClients: () => done.push('interrupt clients'),
            removeAddresses: () => Promise.resolve(void done.push('remove addresses')),
          },
          log: {
            info: (facts, text) => void (text === 'accepted alone' && done.push(`${text} ${JSON.stringify(facts)}`)),
            warn: (facts, text) => done.push(`${text} ${JSON.stringify(facts)}`),
            error: () => undefined,
          },
          onChange: () => undefined,
          onBroken: (error) => done.push(`broken ${String(error)}`),
          clock: monotonicMillis,
        }),
      )
      return {
        member,
        queue,
        said,
        done,
        port,
        tell: (one) => member.take(one),
        delivery: () => delivery!,
        [Symbol.asyncDispose]: () => opened.disposeAsync(),
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const lead: FromCoordinator = { kind: 'lead', epoch: 1, forcedEpoch: 0 }
const committed = (sequence: number, how: 'inSync' | 'alone' | 'refuse' = 'inSync'): FromCoordinator => ({
  kind: 'committed',
  epoch: 1,
  sequence,
  how,
})
const facts: ReplicationFacts = {
  role: 'Primary',
  epoch: 1,
  record: undefined,
  following: undefined,
  followers: [],
  accepting: 'accept',
  acceptingAlone: false,
  trouble: undefined,
  attachFrom: undefined,
  switchover: undefined,
  lastChange: undefined,
}
const inLog = ({ said }: Instance, sequence: number) =>
  waitFor('the entry on the disk', () => said.some((one) => one.kind === 'synced' && one.sequence === sequence), { everyMillis: 2 })

async function begin(instance: Instance): Promise<void> {
  instance.tell(lead)
  await waitFor('the reign', () => instance.member.gate() === 'open', { everyMillis: 2 })
}
const nextTurn = () => new Promise(setImmediate)
test('a standby takes no mail and delivers none; a primary does, and says how far its log is', async () => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  expect(a.member.gate()).toBe('Standby')
  await expect(a.member.append(message())).rejects.toThrow('NotPrimary')
  expect(a.done).toEqual([])
  await begin(a)
  expect([a.member.gate(), a.done]).toEqual(['open', ['start delivery']])
  expect(a.said).toEqual([
    { kind: 'appended', epoch: 1, last: 0 },
    { kind: 'synced', epoch: 1, sequence: 0 },
  ])
  const appending = a.member.append(message())
  await inLog(a, 1)
  expect(a.said.slice(2)).toEqual([{ kind: 'synced', epoch: 1, sequence: 1 }])
  a.tell(committed(1))
  await appending
  a.tell({ kind: 'status', status: { ...facts, accepting: 'NoStandbyInSync' } })
  expect(a.member.gate()).toBe('NoStandbyInSync')
})

test('a client hears 250 when its message is committed, and not before', async () => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  await begin(a)
  const told: string[] = []
  const first = a.member.append(message()).then((id) => told.push(`250 ${id}`))
  await inLog(a, 1)
  await nextTurn()
  expect(told).toEqual([])
  a.tell(committed(1))
  await first
  const second = a.member.append(message())
  await inLog(a, 2)
  a.tell(committed(2, 'refuse'))
  await expect(second).rejects.toThrow('NoStandbyInSync')
  const third = a.member.append(message())
  await inLog(a, 3)
  a.tell(committed(3, 'alone'))
  const queueId = await third
  expect([told.length, a.member.report().acceptedAlone, a.done.at(-1)]).toEqual([1, 1, `accepted alone {"queueId":"${queueId}"}`])
})

test('when the reign ends, nobody is told 250 any more, nothing is written, and what was taken goes back', async () => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  await begin(a)
  const accepted = a.member.append(message())
  await inLog(a, 1)
  a.tell(committed(1))
  await accepted
  const delivery = a.delivery()
  const [taken] = delivery.takeDue(FAR, 10)
  const waiting = a.member.append(message())
  await inLog(a, 2)
  a.tell({ kind: 'stepDown', epoch: 1 })
  await expect(waiting).rejects.toThrow('NotPrimary')
  const last = a.queue.lastSequence()
  const outcome = { kind: 'delivered', reply: { code: 250, enhanced: '2.0.0', text: 'ok' } } as const
  await delivery.settle({ ...taken!, at: NOON, outcomes: [{ index: 0, outcome }] })
  expect([a.queue.lastSequence(), delivery.takeDue(FAR, 10)]).toEqual([last, []])
  expect(a.done).toEqual([
    'start delivery',
    'interrupt clients',
    'stop delivery',
    'remove addresses',
    `delivered after the reign: may be sent again {"queueId":"${taken!.queueId}","destination":"one.example","delivered":1}`,
  ])
  await begin(a)
  a.tell(committed(2))
  expect(a.delivery().takeDue(FAR, 10)).toHaveLength(2)
})

test('a standby follows over TLS, and confirms; both sides say once that the session has ended', async () => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  await using b = await shard.open('news-0-b')
  await begin(a)
  void a.member.append(message()).catch(() => undefined)
  a.tell({ kind: 'followerJoined', session: 7, epoch: 1, copy: { instance: 'news-0-b', copy: 'b' }, token: 'secret' })
  b.tell({
    kind: 'follow',
    session: 3,
    epoch: 1,
    token: 'secret',
    forcedEpoch: 0,
    peer: { instance: 'news-0-a', address: '127.0.0.1', logPort: a.port, beaconPort: 1 },
  })
  await waitFor('the confirmation', () => a.said.some((one) => one.kind === 'confirmed' && one.sequence === 1), { everyMillis: 5 })
  expect(b.said).toEqual([{ kind: 'logJoined', session: 3, epoch: 1, complete: true }])
  expect(b.queue.totals().messages).toBe(1)
  a.tell({ kind: 'sessionEnded', session: 7 })
  const ended = (said: readonly ToCoordinator[]) => said.filter((one) => one.kind === 'logLinkEnded')
  await waitFor('the end', () => ended(a.said).length + ended(b.said).length === 2, { everyMillis: 5 })
  a.tell({ kind: 'sessionEnded', session: 7 })
  b.tell({ kind: 'sessionEnded', session: 3 })
  await nextTurn()
  expect([ended(a.said), ended(b.said)]).toEqual([[{ kind: 'logLinkEnded', session: 7 }], [{ kind: 'logLinkEnded', session: 3 }]])
})

/** A queue whose disk has no room as long as the test says so. */
const onDisk = (queue: LogQueueStore, disk: { readonly isFull: boolean; asked: number }): LogQueueStore =>
  new Proxy(queue, {
    get: (target, name) => {
      if (disk.isFull && name === 'applyEntries') return () => Promise.reject(new QueueFull('the disk became full'))
      if (disk.isFull && name === 'room') return () => (disk.asked++, 'full')
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })

test('a standby whose disk is full says why it leaves, and joins again only when there is room', async () => {
  await using shard = await openShard()
  const disk = { isFull: true, asked: 0 }
  await using a = await shard.open('news-0-a')
  await using b = await shard.open('news-0-b', undefined, (queue) => onDisk(queue, disk))
  await begin(a)
  void a.member.append(message()).catch(() => undefined)
  await inLog(a, 1)
  const follow = (session: number): void => {
    const token = `secret ${session}`
    a.tell({ kind: 'followerJoined', session, epoch: 1, copy: { instance: 'news-0-b', copy: 'b' }, token })
    const peer = { instance: 'news-0-a', address: '127.0.0.1', logPort: a.port, beaconPort: 1 }
    b.tell({ kind: 'follow', session, epoch: 1, token, forcedEpoch: 0, peer })
  }
  const heard = (kind: ToCoordinator['kind'], session: number) =>
    b.said.some((one) => one.kind === kind && 'session' in one && one.session === session)
  follow(1)
  await waitFor('the end', () => heard('logLinkEnded', 1), { everyMillis: 5 })
  expect(b.said.at(-1)).toEqual({ kind: 'logLinkEnded', session: 1, because: 'DiskFull' })
  follow(2)
  await waitFor('somebody to look for room', () => disk.asked > 0, { everyMillis: 5 })
  b.tell({ kind: 'sessionEnded', session: 2 })
  await waitFor('the end of the one that waited', () => heard('logLinkEnded', 2), { everyMillis: 5 })
  follow(3)
  const asked = disk.asked
  await waitFor('room to be looked for again', () => disk.asked > asked, { everyMillis: 5 })
  expect(b.said.some((one) => one.kind === 'logJoined' && one.session > 1)).toBe(false)
  disk.isFull = false
  await waitFor('the confirmation', () => a.said.some((one) => one.kind === 'confirmed' && one.sequence === 1), { everyMillis: 5 })
})

test.each([
  { what: 'another token', token: 'another', from: 'news-0-b' },
  { what: 'the token of another instance', token: 'secret', from: 'news-0-c' },
])('a log link with $what is refused, and the session still waits for its own', async ({ token, from }) => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  await using b = await shard.open(from)
  await begin(a)
  a.tell({ kind: 'followerJoined', session: 7, epoch: 1, copy: { instance: 'news-0-b', copy: 'b' }, token: 'secret' })
  b.tell({
    kind: 'follow',
    session: 3,
    epoch: 1,
    token,
    forcedEpoch: 0,
    peer: { instance: 'news-0-a', address: '127.0.0.1', logPort: a.port, beaconPort: 1 },
  })
  await waitFor('the end', () => b.said.length > 0, { everyMillis: 5 })
  expect(b.said).toEqual([{ kind: 'logLinkEnded', session: 3 }])
  expect(a.said.filter((one) => one.kind === 'logLinkEnded')).toEqual([])
})

test('a switchover: transactions end, clients go, all is committed, and only then is the reign handed over', async () => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  await begin(a)
  const accepted = a.member.append(message())
  await inLog(a, 1)
  a.tell({ kind: 'finishTransactions', epoch: 1 })
  a.tell({ kind: 'closeListener' })
  expect(a.member.gate()).toBe('HandingOver')
  await expect(a.member.append(message())).rejects.toThrow('NotPrimary')
  a.tell({ kind: 'removeAddresses' })
  for (let nth = 0; nth < 5; nth++) await nextTurn()
  expect(a.done).toEqual(['start delivery', 'interrupt clients', 'stop delivery'])
  a.tell(committed(1))
  await accepted
  await waitFor('the addresses', () => a.said.some((one) => one.kind === 'addressesRemoved'), { everyMillis: 5 })
  expect(a.done).toEqual(['start delivery', 'interrupt clients', 'stop delivery', 'remove addresses'])
  expect(a.said.slice(-2)).toEqual([
    { kind: 'transactionsEnded', epoch: 1 },
    { kind: 'addressesRemoved', epoch: 1 },
  ])
})

test('a switchover does not wait for a disk that is full; one that is called off does again', async () => {
  await using shard = await openShard()
  const waits: boolean[] = []
  await using a = await shard.open('news-0-a', undefined, (queue) =>
    Object.assign(onDisk(queue, { isFull: false, asked: 0 }), { setMarksWait: (wait: boolean) => waits.push(wait) }),
  )
  await begin(a)
  a.tell({ kind: 'finishTransactions', epoch: 1 })
  await waitFor('the word', () => a.said.some((one) => one.kind === 'transactionsEnded'), { everyMillis: 2 })
  expect(waits).toEqual([true, false])
  a.tell({ kind: 'openListener' })
  await waitFor('the disk to be waited for', () => waits.length === 3, { everyMillis: 2 })
  expect(waits).toEqual([true, false, true])
})

test('a switchover that is called off opens again', async () => {
  await using shard = await openShard()
  await using a = await shard.open('news-0-a')
  await begin(a)
  a.tell({ kind: 'closeListener' })
  a.tell({ kind: 'openListener' })
  await nextTurn()
  await nextTurn()
  expect([a.member.gate(), a.done]).toEqual(['open', ['start delivery', 'interrupt clients', 'stop delivery', 'start delivery']])
})
