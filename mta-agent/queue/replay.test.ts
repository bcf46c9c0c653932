import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { DeliveryOutcome } from '#agent/domain/delivery-outcome.ts'
import { bounced, deferred, delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import type { LogQueueStore, StoredEntry } from './log-queue.ts'
import type { Delivery } from './queue-store.ts'

/** The laws of the log: replaying it gives the same queue, and what is kept as a sum is the sum. */

const FAR = NOON + 10 ** 9

type Step =
  | { readonly kind: 'append'; readonly to: readonly string[]; readonly bytes: number; readonly age: number }
  | {
      readonly kind: 'settle'
      readonly take: number
      readonly outcomes: readonly ('delivered' | 'deferred' | 'bounced' | 'none')[]
      readonly report: boolean
    }
  | { readonly kind: 'release'; readonly take: number }
  | { readonly kind: 'expire'; readonly before: number }

const address = fc.constantFrom('a@one.example', 'b@one.example', 'c@two.example', 'd@three.example', 'e@two.example')
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('append' as const),
    to: fc.array(address, { minLength: 1, maxLength: 6 }),
    bytes: fc.integer({ min: 0, max: 9000 }),
    age: fc.integer({ min: 0, max: 500 }),
  }),
  fc.record({
    kind: fc.constant('settle' as const),
    take: fc.integer({ min: 1, max: 4 }),
    outcomes: fc.array(fc.constantFrom('delivered', 'deferred', 'bounced', 'none'), { minLength: 6, maxLength: 6 }),
    report: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('release' as const), take: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constant('expire' as const), before: fc.integer({ min: 0, max: 500 }) }),
)

const OUTCOMES: Record<'delivered' | 'deferred' | 'bounced', DeliveryOutcome> = { delivered, deferred, bounced }

/** Runs the steps, several at once so that they share commits, and checks the taking against what is known to be taken. */
async function run(queue: LogQueueStore, steps: readonly Step[]): Promise<void> {
  const running: Promise<unknown>[] = []
  for (const [nth, taken] of steps.entries()) {
    if (taken.kind === 'append') {
      running.push(queue.append(message(taken.to, { content: Buffer.alloc(taken.bytes, nth), acceptedAt: NOON - taken.age })))
    } else if (taken.kind === 'release') {
      queue.release(queue.takeDue(FAR, taken.take))
    } else if (taken.kind === 'expire') {
      queue.release(queue.takeExpired(NOON - taken.before, 3))
    } else {
      for (const delivery of queue.takeDue(FAR, taken.take)) running.push(settle(queue, delivery, taken, nth))
    }
    if (nth % 3 === 0) await Promise.all(running.splice(0))
  }
  await Promise.all(running)
}

function settle(queue: LogQueueStore, delivery: Delivery, { outcomes, report }: Step & { kind: 'settle' }, nth: number): Promise<void> {
  const known = delivery.recipients.flatMap(({ index }) => {
    const kind = outcomes[index % outcomes.length]!
    return kind === 'none' ? [] : [{ index, outcome: OUTCOMES[kind] }]
  })
  const result = { ...delivery, at: NOON, outcomes: known, nextAttemptAt: NOON + 1000 * nth }
  return queue.settle(result, report ? message(['sender@home.example'], { content: Buffer.from(`report ${nth}`) }) : undefined)
}

/** All that can be seen of a queue. */
function look(queue: LogQueueStore) {
  const deliveries = queue.takeDue(FAR, 10_000)
  queue.release(deliveries)
  const ids = [...new Set(deliveries.map((delivery) => delivery.queueId))]
  return {
    deliveries,
    messages: ids.map((id) => ({ message: queue.readMessage(id), content: queue.readContent(id)?.toString('hex') })),
    totals: queue.totals(),
    handled: queue.handled(),
    nextDueAt: queue.nextDueAt(),
    epochs: queue.epochTable(),
  }
}

function readAll(queue: LogQueueStore): readonly StoredEntry[] {
  const entries: StoredEntry[] = []
  while (entries.length < queue.lastSequence()) entries.push(...queue.readLog(entries.length + 1, 7))
  return entries
}

const sumsOf = (seen: ReturnType<typeof look>) => ({
  messages: seen.messages.length,
  recipients: seen.deliveries.reduce((sum, delivery) => sum + delivery.recipients.length, 0),
  deferred: seen.deliveries.reduce((sum, delivery) => sum + (delivery.attempts > 0 ? delivery.recipients.length : 0), 0),
  contentBytes: seen.messages.reduce((sum, { content }) => sum + content!.length / 2, 0),
})

test('the totals are the sums, a restart changes nothing, and replaying the log gives the same queue', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      using directory = temporaryDirectory()
      using other = temporaryDirectory()
      const queue = await openQueue(directory.path)
      await run(queue, steps)
      const seen = look(queue)
      const entries = readAll(queue)
      await queue[Symbol.asyncDispose]()
      expect(seen.totals).toMatchObject(sumsOf(seen))

      await using reopened = await openQueue(directory.path)
      expect(look(reopened)).toEqual(seen)

      await using copy = await openQueue(other.path)
      await copy.applyEntries(entries)
      expect(look(copy)).toEqual(seen)
      expect(readAll(copy).map((entry) => entry.record)).toEqual(entries.map((entry) => entry.record))
      expect(copy.identity().copyId).not.toBe(reopened.identity().copyId)
    }),
    { numRuns: 25 },
  )
})

test('deliveries come in the order they fall due', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      await run(queue, steps)
      const { deliveries } = look(queue)
      const dues = deliveries.map((delivery) => delivery.dueAt)
      expect(dues).toEqual(dues.toSorted((a, b) => a - b))
    }),
    { numRuns: 10 },
  )
})

test('entries that do not follow the last one, or are damaged, are refused and change nothing', async () => {
  using directory = temporaryDirectory()
  using other = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await using copy = await openQueue(other.path)
  await queue.append(message())
  await queue.append(message())
  const [one, two] = queue.readLog(1, 10)

  await expect(copy.applyEntries([two!])).rejects.toThrow('the next entry must be of sequence 1, was of 2')
  await expect(copy.applyEntries([{ ...one!, content: Buffer.from('not what was accepted') }])).rejects.toThrow(
    'entry 1, its content: must be of 25 bytes, was of 21',
  )
  const damaged = Buffer.from(one!.record)
  damaged[damaged.length - 1]! ^= 1
  await expect(copy.applyEntries([{ ...one!, record: damaged }])).rejects.toThrow(
    /^entry 1: must be of checksum [0-9a-f]{8}, was [0-9a-f]{8}$/,
  )
  expect(copy.lastSequence()).toBe(0)

  await copy.applyEntries([one!, two!])
  expect(copy.lastSequence()).toBe(2)
})

test('of entries that come together those before the first that does not fit are durable, and it is named', async () => {
  using directory = temporaryDirectory()
  using other = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await using copy = await openQueue(other.path)
  for (let nth = 0; nth < 4; nth++) await queue.append(message())
  const [one, two, three, four] = queue.readLog(1, 10)
  const damaged = { ...four!, content: Buffer.from('not what was accepted') }

  const gap = 'the next entry must be of sequence 2, was of 3'
  await expect(copy.applyEntries([one!, three!, damaged])).rejects.toThrow(gap)
  const afterGap = copy.lastSequence()
  await expect(copy.applyEntries([two!, three!, damaged])).rejects.toThrow('entry 4, its content: must be of 25 bytes, was of 21')
  expect({ afterGap, last: copy.lastSequence() }).toEqual({ afterGap: 1, last: 3 })
})
