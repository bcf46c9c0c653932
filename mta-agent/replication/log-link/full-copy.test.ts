import { duplexPair, type Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { formatQueueId } from '#agent/domain/queue-id.ts'
import type { LogQueueStore } from '#agent/queue/log-queue.ts'
import { deferred, delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { waitFor } from '#test/support/wait.ts'
import { Link } from './link.ts'
import { runReceiver } from './receiver.ts'
import { LogSender } from './sender.ts'

/** A standby that the log cannot bring up: trimmed, half a copy, or with a tail that somebody may rely on. */

const FAR = NOON + 10 ** 9
const LONG = { timeout: 30_000 }

type Copies = AsyncDisposable & {
  /** Trims its log to five entries. */
  readonly primary: LogQueueStore
  readonly standby: LogQueueStore
}

async function openCopies(epoch: number): Promise<Copies> {
  const stack = new AsyncDisposableStack()
  const open = async (keepEntries: number) => {
    const directory = stack.use(temporaryDirectory())
    return stack.use(await openQueue(directory.path, { replicated: true, logKeeping: { keepMillis: FAR, keepEntries } }))
  }
  const [primary, standby] = [await open(5), await open(10_000)]
  await primary.beginEpoch(epoch)
  return { primary, standby, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

type Session = { readonly ended: Promise<unknown>; readonly heard: string[]; readonly sender: LogSender; readonly confirmed: () => number }

function connect({ primary, standby }: Copies, options: { wire?: readonly [Duplex, Duplex]; forcedEpoch?: number } = {}): Session {
  const { wire = duplexPair(), forcedEpoch = 0 } = options
  const epoch = primary.identity().seen
  const heard: string[] = []
  let confirmed = 0
  const [near, far] = [new Link(wire[0]), new Link(wire[1])]
  const sender = new LogSender({
    link: near,
    store: primary,
    epoch,
    forcedEpoch,
    // Alone: what is on this disk is committed.
    committed: () => primary.lastSequence(),
    onConfirmed: ({ sequence, complete }) => {
      confirmed = complete ? sequence : confirmed
    },
    onCopying: (because) => heard.push(because),
    clock: () => performance.now(),
  })
  const sending = near.expect('hello', epoch).then((hello) => sender.run(hello))
  const receiving = runReceiver({
    link: far,
    store: standby,
    epoch,
    token: 'token',
    onJoined: ({ complete }) => heard.push(complete ? 'joined' : 'joined, incomplete'),
    onCompleted: () => heard.push('completed'),
  })
  return { ended: Promise.allSettled([sending, receiving]), heard, sender, confirmed: () => confirmed }
}

async function fill(queue: LogQueueStore, count: number, bytes = 3_000): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, nth) =>
      queue.append(message([`a${nth}@one.example`, `b${nth}@two.example`], { content: Buffer.alloc(bytes, nth) })),
    ),
  )
  queue.setCommitted(queue.lastSequence())
}

async function settleSome(queue: LogQueueStore, count: number): Promise<void> {
  const settled = queue.takeDue(FAR, count).map((delivery, nth) => {
    const outcome = nth % 3 === 0 ? deferred : delivered
    const outcomes = delivery.recipients.map(({ index }) => ({ index, outcome }))
    return queue.settle({ ...delivery, at: NOON, outcomes, ...(outcome === deferred && { nextAttemptAt: NOON + 5_000 }) })
  })
  await Promise.all(settled)
  queue.setCommitted(queue.lastSequence())
}

/** All that is still to be done, by one who leads. */
async function look(queue: LogQueueStore, epoch: number) {
  await queue.beginEpoch(epoch)
  queue.setCommitted(queue.lastSequence())
  const deliveries = queue.takeDue(FAR, 10_000)
  queue.release(deliveries)
  queue.stopLeading()
  return {
    table: queue.epochTable(),
    totals: queue.totals(),
    handled: queue.handled(),
    deliveries,
    contents: deliveries.map(({ queueId }) => queue.readContent(queueId)?.length),
  }
}

/** Trimming goes on in commits of its own. */
const isTrimmed = ({ primary }: Copies) => waitFor('the log to be trimmed', () => primary.firstSequence() > 1, { everyMillis: 5 })

const inStep = ({ primary }: Copies, session: Session) =>
  waitFor('the last confirmation', () => session.confirmed() === primary.lastSequence(), { everyMillis: 5 })

test('an empty standby of a primary that has trimmed gets a full copy while mail comes and goes', LONG, async () => {
  await using copies = await openCopies(1)
  await fill(copies.primary, 700)
  await settleSome(copies.primary, 200)
  await isTrimmed(copies)
  const session = connect(copies)
  for (let nth = 0; nth < 10; nth++) {
    await fill(copies.primary, 10)
    await settleSome(copies.primary, 20)
    session.sender.wake()
  }
  await inStep(copies, session)
  expect(session.heard).toEqual([
    expect.stringMatching(/^the logs part at 0, and entries before \d+ are trimmed$/),
    'joined, incomplete',
    'completed',
  ])
  expect(copies.standby.isComplete()).toBe(true)
  expect(await look(copies.standby, 2)).toEqual(await look(copies.primary, 2))
})

/** A wire that breaks after so many bytes from the primary; those are still heard. */
function breakingWire(afterBytes: number): readonly [Duplex, Duplex] {
  const [near, nearEnd] = duplexPair()
  const [farEnd, far] = duplexPair()
  let left = afterBytes
  nearEnd.on('data', (chunk: Buffer) => {
    if (left > 0) farEnd.write(chunk.subarray(0, left))
    left -= chunk.length
    if (left > 0) return
    farEnd.end()
    nearEnd.destroy()
    near.destroy()
  })
  farEnd.on('data', (chunk: Buffer) => void (nearEnd.destroyed || nearEnd.write(chunk)))
  near.on('close', () => farEnd.end())
  return [near, far]
}

test('a copy that breaks off is incomplete until another has come to its end, and takes no content twice', LONG, async () => {
  await using copies = await openCopies(1)
  await fill(copies.primary, 600)
  await isTrimmed(copies)
  const contentBytes = 600 * 3_000
  for (const afterBytes of [1, 2_000, 300_000, 700_000]) {
    const session = connect(copies, { wire: breakingWire(afterBytes) })
    await session.ended
    expect(session.confirmed()).toBe(0)
    expect(session.heard).not.toContain('completed')
  }
  expect(copies.standby.isComplete()).toBe(false)
  // Less than the whole: what came before the break is here.
  const session = connect(copies, { wire: breakingWire(contentBytes) })
  await inStep(copies, session)
  expect(session.heard).toEqual(['it has half a copy', 'joined, incomplete', 'completed'])
  expect(await look(copies.standby, 2)).toEqual(await look(copies.primary, 2))
})

test('a tail of before a forced promotion is set aside, and handed over to the primary', LONG, async () => {
  await using copies = await openCopies(1)
  await fill(copies.primary, 3)
  const first = connect(copies)
  await inStep(copies, first)
  // The first primary goes on alone, and is then given up: the other is promoted by force.
  await fill(copies.primary, 2)
  copies.primary.stopLeading()
  await copies.standby.beginEpoch(2)
  await fill(copies.standby, 1)
  const back = { primary: copies.standby, standby: copies.primary, [Symbol.asyncDispose]: () => Promise.resolve() }
  const second = connect(back, { forcedEpoch: 2 })
  await inStep(back, second)
  expect(second.heard).toEqual(['the logs part at 3, and it can cut its own at 5 or later only', 'joined, incomplete', 'completed'])
  // Set aside, offered, taken back, and let go of when the log has them.
  await waitFor('what was set aside', () => back.standby.aside().length === 0 && back.primary.totals().messages === 6, { everyMillis: 5 })
  await inStep(back, second)
  expect(back.standby.totals()).toEqual(back.primary.totals())
  const taken = (await look(back.primary, 3)).deliveries.map(({ queueId }) => queueId)
  expect(new Set(taken)).toEqual(new Set(['1-1', '1-2', '1-3', '1-4', '1-5', '2-4']))
})

test('an offer that does not go on where the table ends is not taken, and is said so; in its turn it is taken, once', LONG, async () => {
  await using copies = await openCopies(1)
  await fill(copies.primary, 2)
  copies.primary.stopLeading()
  const [primary, standby] = [copies.standby, copies.primary]
  await primary.beginEpoch(2)
  using source = primary.openCopySource()
  const target = await standby.beginCopy({ epoch: 2, forcedEpoch: 2, state: source.state })
  await target.finish()
  const [first, second] = standby.aside().map(({ queueId }) => standby.readAside(queueId))
  const [near, far] = duplexPair()
  const sender = new LogSender({
    link: new Link(near),
    store: primary,
    epoch: 2,
    forcedEpoch: 2,
    committed: () => 0,
    onConfirmed: () => undefined,
    clock: () => performance.now(),
  })
  const standbyEnd = new Link(far)
  const hello = { kind: 'hello', versions: { least: 1, most: 1 }, token: 't', table: [], complete: true, cutsTo: 0, aside: 2 } as const
  const running = sender.run(hello)
  await standbyEnd.expect('start', 2)
  const offers = [
    { from: 2, message: second! },
    { from: 1, message: first! },
    { from: 1, message: first! },
    { from: 2, message: second! },
  ]
  for (const offer of offers) standbyEnd.send(2, { kind: 'offer', ...offer })
  const notTaken: string[] = []
  for (let taken = 0; taken < 2;) {
    const said = await standbyEnd.next(2)
    if (said?.kind === 'notTaken') notTaken.push(said.queueId)
    if (said?.kind === 'entries') taken += said.entries.length
  }
  expect({ notTaken, messages: primary.totals().messages }).toEqual({ notTaken: ['1-2', '1-1'], messages: 2 })
  standbyEnd.end()
  await running
})

test('what is wanted and was not named ends the link', async () => {
  await using copies = await openCopies(1)
  await fill(copies.primary, 10)
  const [near, far] = duplexPair()
  const sender = new LogSender({
    link: new Link(near),
    store: copies.primary,
    epoch: 1,
    forcedEpoch: 0,
    committed: () => 0,
    onConfirmed: () => undefined,
    clock: () => performance.now(),
  })
  const standbyEnd = new Link(far)
  const hello = { kind: 'hello', versions: { least: 1, most: 1 }, token: 't', table: [], complete: false, cutsTo: 0, aside: 0 } as const
  const running = Promise.allSettled([sender.run(hello)])
  await standbyEnd.expect('start', 1)
  await standbyEnd.expect('named', 1)
  standbyEnd.send(1, { kind: 'wanted', queueIds: [formatQueueId({ epoch: 1, sequence: 99 })] })
  expect(await running).toMatchObject([{ reason: { message: 'what is wanted must have been named just before, was 1-99' } }])
})
