import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bounced, deferred, delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { openTables } from './lmdb-queue-store.ts'
import { NotLeading, type LogQueueStore } from './log-queue.ts'
import type { Delivery } from './queue-store.ts'

/** One copy of a replicated log: what it gives out, what it can take back, and what it will not do for a copy that does not lead. */

const FAR = NOON + 10 ** 9

async function openCopy(path: string, differences: Parameters<typeof openQueue>[1] = {}): Promise<LogQueueStore> {
  return openQueue(path, { replicated: true, ...differences })
}

const settled = (delivery: Delivery, outcome = delivered) => ({
  queueId: delivery.queueId,
  destination: delivery.destination,
  at: NOON,
  outcomes: delivery.recipients.map(({ index }) => ({ index, outcome })),
  ...(outcome.kind === 'deferred' && { nextAttemptAt: NOON + 60_000 }),
})

/** All that can be seen of a queue. */
const look = (queue: LogQueueStore) => {
  const due = queue.takeDue(FAR, 1000)
  queue.release(due)
  return {
    last: queue.lastSequence(),
    table: queue.epochTable(),
    totals: queue.totals(),
    handled: queue.handled(),
    due: due.map(({ queueId, destination, attempts, recipients }) => ({ queueId, destination, attempts, to: recipients.length })),
    contents: due.map(({ queueId }) => queue.readContent(queueId)?.toString()),
  }
}

async function copyOf(leader: LogQueueStore, follower: LogQueueStore): Promise<void> {
  await follower.applyEntries(leader.readLog(follower.lastSequence() + 1, 1000))
}

test('one that does not lead takes no mail and gives out none, and after beginEpoch does both under that epoch', async () => {
  using directory = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await expect(queue.append(message())).rejects.toThrow(NotLeading)
  await queue.beginEpoch(3)
  const queueId = await queue.append(message())
  queue.setCommitted(1)
  expect({ queueId, seen: queue.identity().seen, due: queue.takeDue(NOON, 9).length }).toEqual({ queueId: '3-1', seen: 3, due: 1 })
})

test('a message is given out when it is committed, and the listener is told', async () => {
  using directory = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await queue.beginEpoch(1)
  const first = await queue.append(message())
  await queue.append(message(['bob@two.example']))
  expect(queue.takeDue(NOON, 9)).toEqual([])
  let told = 0
  queue.onDue(() => told++)
  queue.setCommitted(1)
  expect({ due: queue.takeDue(NOON, 9).map((one) => one.queueId), told }).toEqual({ due: [first], told: 1 })
  queue.setCommitted(2)
  expect(queue.takeDue(NOON, 9).map((one) => one.queueId)).toEqual(['1-2'])
})

test('with 500 marks of deliveries that nobody has confirmed nothing is given out, and what is deferred counts for nothing; with one fewer it goes on', async () => {
  using directory = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await queue.beginEpoch(1)
  for (let number = 0; number < 601; number++) void queue.append(message())
  const last = await queue.append(message())
  queue.setCommitted(602)
  const due = queue.takeDue(NOON, 600)
  await Promise.all(due.slice(0, 100).map((one) => queue.settle(settled(one, deferred))))
  await Promise.all(due.slice(100, 599).map((one) => queue.settle(settled(one))))
  const before = queue.takeDue(NOON, 1)
  await queue.settle(settled(due[599]!))
  const held = queue.takeDue(NOON, 9)
  let told = 0
  queue.onDue(() => told++)
  queue.setCommitted(602 + 101)
  expect({ last, before: before.map((one) => one.queueId), held, told, after: queue.takeDue(NOON, 9).map((one) => one.queueId) }).toEqual({
    last: '1-602',
    before: ['1-601'],
    held: [],
    told: 1,
    after: ['1-602'],
  })
})

test('a content that the disk did not keep is not sent, so that a follower comes past it; one that nobody has confirmed yet is refused', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  {
    await using before = await openCopy(one.path)
    await before.beginEpoch(1)
    await before.append(message())
    await before.append(message(['bob@two.example']))
  }
  {
    await using tables = openTables(one.path)
    const [row] = tables.range('bodies', { limit: 1 })
    row!.value[0]! ^= 1
    await tables.commit([{ table: 'bodies', key: row!.key, value: row!.value }])
  }
  await using leader = await openCopy(one.path)
  await leader.beginEpoch(2)
  expect(() => leader.readLog(1, 9)).toThrow('bodies 1-1: must be as it was accepted, was of another checksum')
  leader.setCommitted(2)
  await using follower = await openCopy(two.path)
  await copyOf(leader, follower)
  expect(() => follower.readContent('1-1' as QueueId)).toThrow('bodies 1-1: must be there, was missing')
  expect(follower.readContent('1-2' as QueueId)).toEqual(leader.readContent('1-2' as QueueId))
})

test.each([
  ['stored', async (queue: LogQueueStore) => void (await queue.append(message(['eve@one.example', 'eve@two.example'])))],
  ['delivered', async (queue: LogQueueStore) => await settleAll(queue, delivered)],
  ['deferred', async (queue: LogQueueStore) => await settleAll(queue, deferred)],
  ['bounced with a report', async (queue: LogQueueStore) => await settleAll(queue, bounced, true)],
])('what a leader did that nobody else has is taken back: %s', async (_, act) => {
  using directory = temporaryDirectory()
  using other = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await using witness = await openCopy(other.path)
  await queue.beginEpoch(1)
  await queue.append(message(['ann@one.example', 'bob@two.example']))
  await queue.append(message(['cid@one.example'], { content: Buffer.alloc(9000, 'x') }))
  const parting = queue.lastSequence()
  queue.setCommitted(parting)
  await copyOf(queue, witness)
  await act(queue)
  queue.stopLeading()
  await queue.joinEpoch({ epoch: 2, parting, forcedEpoch: 0 })
  await queue.beginEpoch(2)
  await witness.beginEpoch(2)
  witness.setCommitted(parting)
  expect(look(queue)).toEqual(look(witness))
})

async function settleAll(queue: LogQueueStore, outcome: Parameters<typeof settled>[1], report = false): Promise<void> {
  const due = queue.takeDue(FAR, 1000)
  expect(due.length).toBeGreaterThan(0)
  await Promise.all(due.map((delivery) => queue.settle(settled(delivery, outcome), report ? message(['news@sender.example']) : undefined)))
}

test('a content goes when the mark that finishes its message is committed, and not before', async () => {
  using directory = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await queue.beginEpoch(1)
  const queueId = await queue.append(message())
  queue.setCommitted(1)
  await settleAll(queue, delivered)
  const whenMarked = queue.readLog(1, 1)[0]?.content?.length
  queue.setCommitted(2)
  await queue.storeSeen(1)
  expect({
    message: queue.readMessage(queueId),
    whenMarked,
    whenCommitted: queue.readLog(1, 1)[0]?.content?.length,
    cutsTo: queue.cutsTo(),
  }).toEqual({
    message: undefined,
    whenMarked: message().content.length,
    whenCommitted: undefined,
    cutsTo: 2,
  })
})

test('what is committed is not taken back, from the moment on that it is', async () => {
  using directory = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await queue.beginEpoch(1)
  for (const name of ['ann', 'bob', 'cid']) await queue.append(message([`${name}@one.example`]))
  queue.setCommitted(2)
  queue.stopLeading()
  const before = { last: queue.lastSequence(), seen: queue.identity().seen }
  await expect(queue.joinEpoch({ epoch: 2, parting: 1, forcedEpoch: 0 })).rejects.toThrow('between 2')
  await expect(queue.joinEpoch({ epoch: 2, parting: 4, forcedEpoch: 0 })).rejects.toThrow('and 3')
  expect({ last: queue.lastSequence(), seen: queue.identity().seen }).toEqual(before)
})

test('seen survives, never goes down, and so does the time of a quick claim; a cut log goes on with the next leader', async () => {
  using directory = temporaryDirectory()
  {
    await using queue = await openCopy(directory.path)
    await queue.beginEpoch(4)
    await queue.append(message())
    queue.setCommitted(1)
    await queue.append(message())
    queue.stopLeading()
    await queue.joinEpoch({ epoch: 6, parting: 1, forcedEpoch: 0 })
    await queue.noteQuickClaim(NOON)
    await expect(queue.storeSeen(5)).rejects.toThrow('6, which this disk has seen')
  }
  await using queue = await openCopy(directory.path)
  await queue.beginEpoch(7)
  const queueId = await queue.append(message())
  expect({ queueId, table: queue.epochTable(), quick: queue.quickClaimAt(), seen: queue.identity().seen }).toEqual({
    queueId: '7-2',
    table: [
      { epoch: 4, last: 1, takenBack: 0 },
      { epoch: 7, last: 2, takenBack: 0 },
    ],
    quick: NOON,
    seen: 7,
  })
})

test('a deposed leader gives back what it had given out: its marks are refused, and the next leader delivers it', async () => {
  using directory = temporaryDirectory()
  await using queue = await openCopy(directory.path)
  await queue.beginEpoch(1)
  await queue.append(message())
  queue.setCommitted(1)
  const [delivery] = queue.takeDue(NOON, 1)
  queue.stopLeading()
  await expect(queue.settle(settled(delivery!))).rejects.toThrow(NotLeading)
  queue.release([delivery!])
  await queue.joinEpoch({ epoch: 2, parting: 1, forcedEpoch: 0 })
  await queue.beginEpoch(3)
  expect(queue.takeDue(NOON, 9).map((one) => one.queueId)).toEqual(['1-1'])
})

test('nothing is trimmed that can still be taken back or that a copy has yet to confirm', async () => {
  using directory = temporaryDirectory()
  let neededFrom = 3
  await using queue = await openCopy(directory.path, { logKeeping: { keepMillis: 0, keepEntries: 1 }, neededFrom: () => neededFrom })
  await queue.beginEpoch(1)
  for (let nth = 0; nth < 6; nth++) await queue.append(message())
  expect(queue.firstSequence()).toBe(1)
  queue.setCommitted(6)
  await queue.append(message())
  await queue.append(message())
  const held = queue.firstSequence()
  neededFrom = 7
  await queue.append(message())
  await queue.append(message())
  await queue.append(message())
  expect({ held, freed: queue.firstSequence() }).toEqual({ held: 3, freed: 6 })
})

const act = fc.oneof(
  fc.record({
    kind: fc.constant('append' as const),
    to: fc.subarray(['a@one.example', 'b@two.example', 'c@two.example'], { minLength: 1 }),
  }),
  fc.record({
    kind: fc.constant('settle' as const),
    count: fc.integer({ min: 1, max: 3 }),
    outcome: fc.constantFrom(delivered, deferred, bounced),
    report: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('commit' as const), behind: fc.integer({ min: 0, max: 4 }) }),
)

/** Only what is committed is settled, so every act but the appends depends on where the set stands. */
test('a log that is cut anywhere above what is committed is the log as it was there', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 25 }), fc.nat(), async (acts, somewhere) => {
      using directory = temporaryDirectory()
      using other = temporaryDirectory()
      await using queue = await openCopy(directory.path)
      await using witness = await openCopy(other.path)
      await queue.beginEpoch(1)
      for (const one of acts) {
        if (one.kind === 'append') await queue.append(message(one.to))
        else if (one.kind === 'commit') queue.setCommitted(queue.lastSequence() - one.behind)
        else {
          const due = queue.takeDue(FAR, one.count)
          await Promise.all(
            due.map((delivery) => queue.settle(settled(delivery, one.outcome), one.report ? message(['news@sender.example']) : undefined)),
          )
        }
      }
      await queue.storeSeen(1)
      queue.stopLeading()
      const lowest = queue.cutsTo()
      const parting = lowest + (somewhere % (queue.lastSequence() - lowest + 1))
      await witness.applyEntries(queue.readLog(1, parting))
      await queue.joinEpoch({ epoch: 2, parting, forcedEpoch: 0 })
      for (const copy of [queue, witness]) {
        await copy.beginEpoch(2)
        copy.setCommitted(parting)
      }
      expect(look(queue)).toEqual(look(witness))
    }),
    { numRuns: 60 },
  )
}, 60_000)

test('a queue that is opened without replication has all committed, and opens again either way', async () => {
  using directory = temporaryDirectory()
  {
    await using queue = await openCopy(directory.path)
    await queue.beginEpoch(1)
    const contents = [await queue.append(message()), await queue.append(message())]
    queue.setCommitted(2)
    const [first] = queue.takeDue(NOON, 1)
    await queue.settle(settled(first!))
    expect(contents[0]).toBe(first!.queueId)
  }
  {
    await using queue = await openQueue(directory.path)
    await queue.append(message())
    expect(queue.takeDue(NOON, 9).map((delivery) => delivery.queueId)).toEqual(['1-2', '1-4'])
  }
  {
    await using tables = openTables(directory.path)
    expect({ bodies: tables.count('bodies'), undo: tables.count('undo') }).toEqual({ bodies: 2, undo: 0 })
  }
  await (await openQueue(directory.path))[Symbol.asyncDispose]()
  await using queue = await openCopy(directory.path)
  expect({ last: queue.lastSequence(), cutsTo: queue.cutsTo() }).toEqual({ last: 4, cutsTo: 4 })
})
