import { duplexPair, type Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { formatQueueId } from '#agent/domain/queue-id.ts'
import type { LogQueueStore, StoredEntry } from '#agent/queue/log-queue.ts'
import { delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { waitFor } from '#test/support/wait.ts'
import { Link } from './link.ts'
import { runReceiver } from './receiver.ts'
import { LogSender } from './sender.ts'

/** Both ends of a log link, each with a queue of its own on a disk. */

const EPOCH = 1
const FAR = NOON + 10 ** 9

type Pair = AsyncDisposable & { readonly primary: LogQueueStore; readonly standby: LogQueueStore }

async function openPair(): Promise<Pair> {
  const stack = new AsyncDisposableStack()
  const [here, there] = [stack.use(temporaryDirectory()), stack.use(temporaryDirectory())]
  const primary = stack.use(await openQueue(here.path, { replicated: true }))
  const standby = stack.use(await openQueue(there.path, { replicated: true }))
  await primary.beginEpoch(EPOCH)
  return { primary, standby, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

type Session = {
  readonly receiving: Promise<void>
  readonly ended: Promise<readonly PromiseSettledResult<void>[]>
  readonly confirmed: () => number
  readonly sender: LogSender
  readonly joined: unknown[]
}

/** `wire`: what lies between the two. */
function connect({ primary, standby }: Pair, wire: readonly [Duplex, Duplex] = duplexPair(), forcedEpoch = 0): Session {
  let confirmed = 0
  const joined: unknown[] = []
  const [near, far] = [new Link(wire[0]), new Link(wire[1])]
  const sender = new LogSender({
    link: near,
    store: primary,
    epoch: primary.identity().seen,
    forcedEpoch,
    committed: () => confirmed,
    onConfirmed: ({ sequence }) => (confirmed = sequence),
    clock: () => performance.now(),
  })
  const sending = near.expect('hello', primary.identity().seen).then((hello) => sender.run(hello))
  const receiving = runReceiver({
    link: far,
    store: standby,
    epoch: primary.identity().seen,
    token: 'token',
    onJoined: (how) => joined.push(how),
    onCompleted: () => joined.push('completed'),
  })
  return { receiving, ended: Promise.allSettled([sending, receiving]), confirmed: () => confirmed, sender, joined }
}

const senderOf = (store: LogQueueStore, connection: Duplex): LogSender =>
  new LogSender({
    link: new Link(connection),
    store,
    epoch: EPOCH,
    forcedEpoch: 0,
    committed: () => 0,
    onConfirmed: () => undefined,
    clock: () => performance.now(),
  })

/** All that a log says, and what came of it. */
function look(queue: LogQueueStore) {
  const entries: StoredEntry[] = []
  while (entries.length < queue.lastSequence()) entries.push(...queue.readLog(entries.length + 1, 100))
  const log = entries.map(({ record }) => record.toString('base64')).join()
  const contents = entries.map(({ sequence }) => queue.readContent(formatQueueId({ epoch: EPOCH, sequence }))?.length)
  return { table: queue.epochTable(), totals: queue.totals(), handled: queue.handled(), log, contents }
}

const HELLO = { kind: 'hello', versions: { least: 1, most: 1 }, token: 'token', table: [], complete: true, cutsTo: 0, aside: 0 } as const

async function appendMany(queue: LogQueueStore, count: number, bytes = 2000): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, nth) => queue.append(message([`a${nth}@one.example`], { content: Buffer.alloc(bytes, nth) }))),
  )
}

async function deliverSome(queue: LogQueueStore, count: number): Promise<void> {
  queue.setCommitted(queue.lastSequence())
  const taken = queue.takeDue(FAR, count)
  const settled = taken.map((delivery) =>
    queue.settle({ ...delivery, at: NOON, outcomes: delivery.recipients.map(({ index }) => ({ index, outcome: delivered })) }),
  )
  await Promise.all(settled)
}

const inStep = ({ primary }: Pair, session: Session) =>
  waitFor('the last confirmation', () => session.confirmed() === primary.lastSequence(), { everyMillis: 5 })

test('a standby catches up, and follows what comes', async () => {
  await using pair = await openPair()
  await appendMany(pair.primary, 600)
  await deliverSome(pair.primary, 100)
  const wire = duplexPair()
  const session = connect(pair, wire)
  await inStep(pair, session)
  expect(session.joined).toEqual([{ complete: true }])
  expect(look(pair.standby)).toEqual(look(pair.primary))

  await appendMany(pair.primary, 20)
  await deliverSome(pair.primary, 50)
  session.sender.wake()
  await inStep(pair, session)
  expect(look(pair.standby)).toEqual(look(pair.primary))
  expect(session.sender.needsFrom()).toBe(pair.primary.lastSequence() + 1)
  wire[1].end()
  expect(await session.ended).toEqual([
    { status: 'fulfilled', value: undefined },
    { status: 'fulfilled', value: undefined },
  ])
})

test('what becomes durable in one commit is confirmed once, however many batches it came in', async () => {
  await using pair = await openPair()
  await appendMany(pair.primary, 30)
  const [near, far] = duplexPair()
  const primaryEnd = new Link(near)
  const receiving = runReceiver({
    link: new Link(far),
    store: pair.standby,
    epoch: EPOCH,
    token: 'token',
    onJoined: () => undefined,
    onCompleted: () => undefined,
  })
  await primaryEnd.expect('hello', EPOCH)
  const table = pair.primary.epochTable()
  primaryEnd.send(EPOCH, { kind: 'start', version: 1, table, forcedEpoch: 0, with: { kind: 'entries', from: 1 } })
  for (let from = 1; from <= 30; from += 3)
    primaryEnd.send(EPOCH, { kind: 'entries', committed: 0, entries: pair.primary.readLog(from, 3) })
  const confirmed: number[] = []
  while (confirmed.at(-1) !== 30) confirmed.push((await primaryEnd.expect('confirm', EPOCH)).sequence)
  expect(confirmed).toEqual([...new Set(confirmed)])
  expect(confirmed.length).toBeLessThan(10)
  primaryEnd.close()
  await receiving
})

/** A wire that breaks after so many bytes from the primary, and takes them in small pieces. */
function breakingWire(afterBytes: number): readonly [Duplex, Duplex] {
  const [near, nearEnd] = duplexPair()
  const [farEnd, far] = duplexPair()
  let left = afterBytes
  const breakBoth = (): void => [near, nearEnd, farEnd, far].forEach((end) => end.destroy())
  nearEnd.on('data', (chunk: Buffer) => {
    farEnd.write(chunk.subarray(0, left))
    left -= chunk.length
    if (left <= 0) setImmediate(breakBoth)
  })
  farEnd.on('data', (chunk: Buffer) => void nearEnd.write(chunk))
  for (const end of [near, far]) end.on('close', breakBoth)
  return [near, far]
}

test(
  'a link that breaks anywhere is taken up again where the standby is, and nothing is twice or missing',
  { timeout: 30_000 },
  async () => {
    await using pair = await openPair()
    await appendMany(pair.primary, 5, 500)
    let brokenWithin = 0
    for (let afterBytes = 1; afterBytes < 6_000; afterBytes += 211) {
      const before = pair.standby.lastSequence()
      const wire = breakingWire(afterBytes)
      const session = connect(pair, wire)
      for (let nth = 0; nth < 3; nth++) {
        await appendMany(pair.primary, 1, 300)
        await deliverSome(pair.primary, 1)
        session.sender.wake()
      }
      await Promise.race([session.ended, inStep(pair, session)])
      wire[1].destroy()
      await session.ended
      expect(pair.standby.lastSequence()).toBeGreaterThanOrEqual(Math.max(before, session.confirmed()))
      if (pair.standby.lastSequence() < pair.primary.lastSequence()) brokenWithin++
    }
    expect(brokenWithin).toBeGreaterThan(5)
    const session = connect(pair)
    await inStep(pair, session)
    expect(look(pair.standby)).toEqual(look(pair.primary))
  },
)

test('a standby that does not read costs a window, not the memory; when it reads, all is there', { timeout: 30_000 }, async () => {
  await using pair = await openPair()
  const bytes = 2 ** 20
  for (let nth = 0; nth < 5; nth++) await appendMany(pair.primary, 10, bytes)
  const [near, far] = duplexPair()
  const standbyEnd = new Link(far)
  let read = 0
  const sender = new LogSender({
    link: new Link(near),
    store: {
      lastSequence: () => pair.primary.lastSequence(),
      firstSequence: () => pair.primary.firstSequence(),
      epochTable: () => pair.primary.epochTable(),
      readLog: (from, limit) => pair.primary.readLog(from, limit).map((entry) => (read++, entry)),
      openCopySource: () => pair.primary.openCopySource(),
      takeBack: (message, from) => pair.primary.takeBack(message, from),
    },
    epoch: EPOCH,
    forcedEpoch: 0,
    committed: () => 0,
    onConfirmed: () => undefined,
    clock: () => performance.now(),
  })
  const running = sender.run(HELLO)
  await standbyEnd.expect('start', EPOCH)
  let heard = 0
  while (heard < 32) heard += (await standbyEnd.expect('entries', EPOCH)).entries.length
  await new Promise((resolve) => setTimeout(resolve, 100))
  // 32 MiB in batches of 8.
  expect([read, heard]).toEqual([32, 32])
  standbyEnd.send(EPOCH, { kind: 'confirm', sequence: 32, complete: true })
  while (heard < 50) heard += (await standbyEnd.expect('entries', EPOCH)).entries.length
  expect([read, heard]).toEqual([50, 50])
  standbyEnd.end()
  await running
})

test('a confirmation of what was never sent ends the link', async () => {
  await using pair = await openPair()
  await appendMany(pair.primary, 2)
  const [near, far] = duplexPair()
  const sender = senderOf(pair.primary, near)
  new Link(far).send(EPOCH, { kind: 'confirm', sequence: 3, complete: true })
  await expect(sender.run(HELLO)).rejects.toThrow(/^a confirm must be of 0 to [02], was of 3$/)
})

test('a standby of another version is told so', async () => {
  await using pair = await openPair()
  const [near, far] = duplexPair()
  const sender = senderOf(pair.primary, near)
  const standbyEnd = new Link(far)
  const running = Promise.allSettled([sender.run({ ...HELLO, versions: { least: 7, most: 9 } })])
  const said = await standbyEnd.next(EPOCH)
  expect(said).toMatchObject({ kind: 'refused', text: 'the link must be of version 1 to 1, was of 7 to 9' })
  expect(await running).toMatchObject([
    { reason: { message: expect.stringMatching(/^refused the standby: NoCommonVersion: /) as unknown } },
  ])
})

test('a primary that begins elsewhere than where the logs part is not followed', async () => {
  await using pair = await openPair()
  const [near, far] = duplexPair()
  const session = connect(pair, [duplexPair()[0], far])
  new Link(near).send(EPOCH, { kind: 'start', version: 1, table: [], forcedEpoch: 0, with: { kind: 'entries', from: 2 } })
  await expect(session.receiving).rejects.toThrow('entries must begin at 1, where the logs part, were to begin at 2')
  expect(session.joined).toEqual([])
})
