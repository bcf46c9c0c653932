import { expect, test } from 'vitest'
import { bounced, deferred, delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { openTables } from './lmdb-queue-store.ts'
import { decodeMessage } from './message-record.ts'
import type { CopySource, CopyTarget, LogQueueStore } from './log-queue.ts'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'

/** A copy of one queue becomes a copy of another (hot standby, section 7). */

const FAR = NOON + 10 ** 9
const openCopy = (path: string): Promise<LogQueueStore> => openQueue(path, { replicated: true })

async function openLeader(path: string, epoch = 1): Promise<LogQueueStore> {
  const queue = await openCopy(path)
  await queue.beginEpoch(epoch)
  return queue
}

/** Stores so many messages, of one or two destinations, and settles every third delivery in one of three ways. */
async function work(queue: LogQueueStore, count: number, mark: string): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, nth) => {
      const to = nth % 4 === 0 ? ['ann@one.example', 'bob@two.example'] : [`ann@d${nth % 3}.example`]
      return queue.append(message(to, { content: Buffer.from(`${mark} ${nth} ${'x'.repeat(nth % 50)}`) }))
    }),
  )
  queue.setCommitted(queue.lastSequence())
  const due = queue.takeDue(FAR, 10_000)
  const some = due.filter((_, nth) => nth % 3 === 0)
  queue.release(due.filter((delivery) => !some.includes(delivery)))
  const outcomes: readonly DeliveryOutcome[] = [delivered, deferred, bounced]
  await Promise.all(
    some.map((delivery, nth) => {
      const outcome = outcomes[nth % 3]!
      const result = {
        ...delivery,
        at: NOON,
        outcomes: delivery.recipients.map(({ index }) => ({ index, outcome })),
        nextAttemptAt: NOON + 9,
      }
      return queue.settle(
        result,
        nth % 3 === 2 ? message(['news@sender.example'], { content: Buffer.from(`report ${mark} ${nth}`) }) : undefined,
      )
    }),
  )
  queue.setCommitted(queue.lastSequence())
}

async function copy(source: CopySource, target: CopyTarget): Promise<readonly QueueId[]> {
  const asked: QueueId[] = []
  for (const stretch of source.inventory()) {
    const missing = await target.put(stretch)
    await target.putContents(missing.map((queueId) => ({ queueId, content: source.content(queueId) })))
    asked.push(...missing)
  }
  await target.finish()
  return asked
}

const begin = (queue: LogQueueStore, { state }: CopySource, epoch = 1, forcedEpoch = 0): Promise<CopyTarget> =>
  queue.beginCopy({ epoch, forcedEpoch, state })

/** All that is on the volume of the queue and must be alike on another, after the queue is closed. */
async function look(path: string) {
  await using tables = openTables(path)
  const rows = (table: 'messages' | 'bodies' | 'deliveries' | 'schedule' | 'remaining' | 'aside') =>
    tables.range(table, { limit: 100_000 }).map(({ key, value }) => `${key.toString('hex')} ${value.toString('hex')}`)
  return {
    messages: rows('messages'),
    bodies: rows('bodies'),
    deliveries: rows('deliveries'),
    schedule: rows('schedule'),
    // Of one destination left nobody asks how many there are.
    remaining: rows('remaining').filter((row) => !row.endsWith('00000001')),
    aside: rows('aside'),
    position: tables.get('meta', Buffer.from('position'))?.toString('hex'),
  }
}

test('an empty volume becomes a copy of the queue as it was, whatever happens meanwhile, and goes on by the log', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const leader = await openLeader(one.path)
  const follower = await openCopy(two.path)
  await work(leader, 300, 'before')
  {
    using source = leader.openCopySource()
    await work(leader, 50, 'meanwhile')
    const target = await begin(follower, source)
    expect(follower.isComplete()).toBe(false)
    await copy(source, target)
    expect({ complete: follower.isComplete(), last: follower.lastSequence(), first: follower.firstSequence() }).toEqual({
      complete: true,
      last: source.state.sequence,
      first: source.state.sequence + 1,
    })
    expect(follower.epochTable()).toEqual(source.state.table)
  }
  while (follower.lastSequence() < leader.lastSequence()) await follower.applyEntries(leader.readLog(follower.lastSequence() + 1, 1000))
  for (const queue of [leader, follower]) queue.setCommitted(queue.lastSequence())
  // One more for each, in which the last of what is finished goes.
  for (const queue of [leader, follower]) await queue.noteQuickClaim(NOON)
  await leader[Symbol.asyncDispose]()
  await follower[Symbol.asyncDispose]()
  expect(await look(two.path)).toEqual(await look(one.path))
})

test('a copy that leads gives out what was copied', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  await using leader = await openLeader(one.path)
  await using follower = await openCopy(two.path)
  await work(leader, 20, 'mail')
  using source = leader.openCopySource()
  await copy(source, await begin(follower, source))
  await follower.beginEpoch(2)
  const seen = (queue: LogQueueStore) =>
    queue.takeDue(FAR, 1000).map((delivery) => ({ ...delivery, content: queue.readContent(delivery.queueId)?.toString() }))
  const given = seen(follower)
  expect(given.length).toBeGreaterThan(10)
  expect(given).toEqual(seen(leader))
})

test('one that comes back asks for what it lacks only, and what is finished goes', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const leader = await openLeader(one.path)
  const follower = await openCopy(two.path)
  await work(leader, 60, 'old')
  await follower.applyEntries(leader.readLog(1, 1000))
  const known = follower.lastSequence()
  await work(leader, 40, 'new')
  {
    using source = leader.openCopySource()
    const asked = await copy(source, await begin(follower, source))
    expect(asked.length).toBeGreaterThan(0)
    expect(asked.map((queueId) => Number(queueId.split('-')[1])).filter((sequence) => sequence <= known)).toEqual([])
  }
  await leader.noteQuickClaim(NOON)
  await leader[Symbol.asyncDispose]()
  await follower[Symbol.asyncDispose]()
  expect(await look(two.path)).toEqual(await look(one.path))
})

test('a copy that was broken off anywhere opens as incomplete, takes no entries, and is made again', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const leader = await openLeader(one.path)
  const first = await openCopy(two.path)
  await work(leader, 30, 'old')
  await first.applyEntries(leader.readLog(1, 1000))
  await first[Symbol.asyncDispose]()
  await work(leader, 700, 'new')
  {
    using source = leader.openCopySource()
    for (let steps = 0; steps < 9; steps++) {
      await using follower = await openCopy(two.path)
      const target = await begin(follower, source)
      const stretches = source.inventory()[Symbol.iterator]()
      for (let step = 0; step < steps; step += 2) {
        const next = stretches.next()
        if (next.done === true) break
        const missing = await target.put(next.value)
        if (step + 1 < steps)
          await target.putContents(missing.slice(0, 50).map((queueId) => ({ queueId, content: source.content(queueId) })))
        if (missing.length > 0) break
      }
    }
    await using follower = await openCopy(two.path)
    expect(follower.isComplete()).toBe(false)
    await expect(follower.applyEntries(leader.readLog(leader.lastSequence(), 1))).rejects.toThrow(
      'the copy must be complete for its log to go on, was not',
    )
    await expect(follower.joinEpoch({ epoch: 1, parting: 0, forcedEpoch: 0 })).rejects.toThrow('the copy must be complete')
    const onDamage = (queueId: QueueId): never => expect.unreachable(`${queueId} is missing, not damaged`)
    await follower.scrub(new AbortController().signal, { onDamage })
    const asked = await copy(source, await begin(follower, source))
    expect(asked.length).toBeLessThan(source.state.totals.messages)
    expect(follower.isComplete()).toBe(true)
  }
  await leader.noteQuickClaim(NOON)
  await leader[Symbol.asyncDispose]()
  expect(await look(two.path)).toEqual(await look(one.path))
  await using follower = await openCopy(two.path)
  expect(follower.isComplete()).toBe(true)
})

test('half a copy is not opened without replication: it would be taken for the whole', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  await using leader = await openLeader(one.path)
  {
    await using follower = await openCopy(two.path)
    using source = leader.openCopySource()
    await begin(follower, source)
  }
  await expect(openQueue(two.path)).rejects.toThrow(
    'a queue that is opened without replication must be whole, was a copy of another that was not finished',
  )
})

test('of what the other log has not come to, messages from before a forced promotion are set aside with those still to be served', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  await using promoted = await openCopy(one.path)
  const old = await openLeader(two.path, 1)
  await old.append(message())
  await promoted.applyEntries(old.readLog(1, 10))
  const kept = await old.append(message(['ann@one.example', 'bob@two.example']))
  old.setCommitted(2)
  const served = old.takeDue(NOON, 10).find(({ destination, queueId }) => destination === 'two.example' && queueId === kept)!
  await old.settle({ ...served, at: NOON, outcomes: [{ index: 1, outcome: delivered }] })
  old.stopLeading()
  await old.beginEpoch(4)
  await old.append(message(['late@one.example']))
  old.setCommitted(4)
  old.stopLeading()
  await promoted.beginEpoch(5)

  using source = promoted.openCopySource()
  await copy(source, await begin(old, source, 5, 4))
  expect(old.aside()).toEqual([{ queueId: '1-2', origin: { epoch: 1, sequence: 2 }, sizeBytes: 25 }])
  const { envelope } = decodeMessage(old.readAside(kept).record, 'set aside')
  expect(envelope.recipients.map(({ address }) => address)).toEqual(['ann@one.example'])
  expect({ last: old.lastSequence(), totals: old.totals().messages, seen: old.identity().seen }).toEqual({ last: 1, totals: 1, seen: 5 })
  // What was committed in the log that was given up says nothing about this one.
  await promoted.append(message())
  await old.applyEntries(promoted.readLog(2, 10))
  expect({ last: old.lastSequence(), cutsTo: old.cutsTo() }).toEqual({ last: 2, cutsTo: 1 })
  await old[Symbol.asyncDispose]()

  await using reopened = await openCopy(two.path)
  expect(reopened.aside()).toHaveLength(1)
  const { damaged } = await reopened.scrub(new AbortController().signal, { onDamage: () => undefined })
  expect(damaged).toBe(0)
})

test('what was set aside is let go of when a copy brings the log that has come to it', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  using three = temporaryDirectory()
  await using old = await openLeader(one.path, 1)
  await old.append(message())
  await old.append(message())
  old.setCommitted(2)
  old.stopLeading()
  await using empty = await openLeader(two.path, 4)
  {
    using source = empty.openCopySource()
    await copy(source, await begin(old, source, 4, 4))
  }
  expect(old.aside().map(({ queueId }) => queueId)).toEqual(['1-1', '1-2'])

  await using other = await openLeader(three.path, 1)
  await other.append(message())
  other.setCommitted(1)
  using source = other.openCopySource()
  await copy(source, await begin(old, source, 5, 4))
  expect(old.aside().map(({ queueId }) => queueId)).toEqual(['1-2'])
  expect(old.readContent('1-1' as QueueId)).toBeDefined()
})

test('a content that is damaged where it comes from is missing in the copy as well, and the rest is there', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const before = await openLeader(one.path)
  await work(before, 3, 'mail')
  await before[Symbol.asyncDispose]()
  {
    await using tables = openTables(one.path)
    const [row] = tables.range('bodies', { limit: 1 })
    row!.value[0]! ^= 1
    await tables.commit([{ table: 'bodies', key: row!.key, value: row!.value }])
  }
  await using leader = await openLeader(one.path)
  await using follower = await openCopy(two.path)
  using source = leader.openCopySource()
  await copy(source, await begin(follower, source))
  const damage: string[] = []
  await follower.scrub(new AbortController().signal, { onDamage: (_, found) => damage.push(found.message) })
  expect(damage).toEqual([expect.stringMatching(/^bodies 1-\d+: must be there, was missing$/)])
})

test('what does not fit is refused with what must be and what was', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  await using leader = await openLeader(one.path)
  await using follower = await openCopy(two.path)
  await leader.append(message())
  await leader.append(message())
  leader.setCommitted(2)
  using source = leader.openCopySource()
  const [stretch] = source.inventory()
  const [first, second] = stretch!

  await expect(begin(leader, source)).rejects.toThrow('the store must not lead to become a copy of the log of epoch 1, but does')
  const target = await begin(follower, source)
  await expect(target.put([second!, first!])).rejects.toThrow(
    'copied messages must come in the order of their queue ids, 1-1 came after 1-2',
  )
  await expect(target.put([{ ...first!, queueId: '9-1' as QueueId }])).rejects.toThrow(
    'a copied message must be one that the copied log has come to, 9-1 was not',
  )
  await target.put([first!])
  await expect(target.finish()).rejects.toThrow('all contents must be here to finish a copy, 1 were missing')
  await expect(target.putContents([{ queueId: '1-1' as QueueId, content: Buffer.from('else') }])).rejects.toThrow(
    '1-1, its copied content: must be of 25 bytes, was of 4',
  )
  await target.putContents([{ queueId: '1-1' as QueueId, content: source.content('1-1' as QueueId) }])
  await expect(target.finish()).rejects.toThrow('a finished copy must have messages of 2 in all, had 1')
  expect(follower.isComplete()).toBe(false)
})

test('a source that outlives its store is of no use, and does no harm', async () => {
  using directory = temporaryDirectory()
  const leader = await openLeader(directory.path)
  await leader.append(message())
  {
    using source = leader.openCopySource()
    await leader.append(message())
    await leader[Symbol.asyncDispose]()
    expect(() => [...source.inventory()]).toThrow('transaction')
  }
  await using reopened = await openCopy(directory.path)
  expect(reopened.lastSequence()).toBe(2)
})
