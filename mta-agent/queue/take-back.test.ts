import { expect, test } from 'vitest'
import { delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import type { QueueId } from '../domain/queue-id.ts'
import type { LogQueueStore } from './log-queue.ts'

/** What a returning copy had beyond a forced promotion goes to the primary, once (hot standby, R8); and notes, which move with the queue. */

const openCopy = (path: string): Promise<LogQueueStore> => openQueue(path, { replicated: true })
const ids = (queue: LogQueueStore) => queue.aside().map(({ queueId }) => queueId)
const due = (queue: LogQueueStore) => queue.takeDue(NOON, 100).map(({ queueId, recipients }) => `${queueId} ${recipients[0]!.address}`)

async function follow(follower: LogQueueStore, leader: LogQueueStore): Promise<void> {
  await follower.applyEntries(leader.readLog(follower.lastSequence() + 1, 1000))
}

/** Of one log, which the first has to its second entry and the second to its fifth; then the first is made the leader, by force. */
async function parted(one: string, two: string): Promise<{ readonly leader: LogQueueStore; readonly old: LogQueueStore }> {
  const old = await openCopy(two)
  const leader = await openCopy(one)
  await old.beginEpoch(1)
  await old.append(message(['a@one.example']))
  await old.append(message(['b@one.example']))
  await follow(leader, old)
  old.setCommitted(2)
  for (const to of ['c', 'd', 'e']) await old.append(message([`${to}@one.example`, `${to}@two.example`], { content: Buffer.from(to) }))
  old.stopLeading()
  await leader.beginEpoch(3)
  leader.setCommitted(2)
  return { leader, old }
}
const join = { epoch: 3, parting: 2, forcedEpoch: 3 }

test('a cut sets aside what may have been promised, and a restart does not change that', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await using _leader = leader
  await old.joinEpoch(join)
  const aside = old.aside()
  expect(aside).toEqual([3, 4, 5].map((sequence) => ({ queueId: `1-${sequence}`, origin: { epoch: 1, sequence }, sizeBytes: 1 })))
  expect({ last: old.lastSequence(), messages: old.totals().messages }).toEqual({ last: 2, messages: 2 })
  await old[Symbol.asyncDispose]()

  await using reopened = await openCopy(two.path)
  expect(reopened.aside()).toEqual(aside)
  expect(reopened.readAside('1-4' as QueueId).content.toString()).toBe('d')
})

test('what nobody was promised is dropped', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await using _leader = leader
  await using follower = old
  await follower.joinEpoch({ ...join, forcedEpoch: 1 })
  expect(follower.aside()).toEqual([])
})

test('the leader takes each back once, under its name, and the other lets go when its own log has it', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await using primary = leader
  await using follower = old
  await follower.joinEpoch(join)
  const third = follower.readAside('1-3' as QueueId)
  await primary.takeBack(third, 3)
  // Between them lay one that was finished before it was parted from.
  await primary.takeBack(follower.readAside('1-5' as QueueId), 4)
  expect(primary.epochTable()).toEqual([
    { epoch: 1, last: 2, takenBack: 5 },
    { epoch: 3, last: 4, takenBack: 0 },
  ])
  expect(ids(follower)).toEqual(['1-3', '1-4', '1-5'])

  await follow(follower, primary)
  expect({ aside: ids(follower), table: follower.epochTable() }).toEqual({ aside: [], table: primary.epochTable() })
  expect(follower.readContent('1-3' as QueueId)?.toString()).toBe('c')
  expect(follower.readContent('1-4' as QueueId)).toBeUndefined()

  primary.setCommitted(4)
  const given = primary.takeDue(NOON, 100).filter(({ queueId }) => queueId === '1-3')
  expect(given.map(({ destination }) => destination)).toEqual(['one.example', 'two.example'])
  for (const delivery of given) {
    const outcomes = delivery.recipients.map(({ index }) => ({ index, outcome: delivered }))
    await primary.settle({ ...delivery, at: NOON, outcomes })
  }
  await expect(primary.takeBack(third, 3)).rejects.toThrow(
    'messages of epoch 1 must be offered from 6 on, where its row ends, 1-3 was from 3',
  )
})

test('what is taken back is given out when it is committed, also after a restart and under a name from further on than the log has come', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await using follower = old
  await follower.joinEpoch(join)
  await leader.takeBack(follower.readAside('1-5' as QueueId), 3)
  expect(due(leader)).toEqual(['1-1 a@one.example', '1-2 b@one.example'])
  await leader[Symbol.asyncDispose]()

  await using reopened = await openCopy(one.path)
  await reopened.beginEpoch(4)
  expect(due(reopened)).toEqual(['1-1 a@one.example', '1-2 b@one.example'])
  reopened.setCommitted(3)
  expect(due(reopened)).toEqual(['1-5 e@one.example', '1-5 e@two.example'])
})

test('a cut that takes a hand-over away puts its message aside again, and the table where it was', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await using primary = leader
  await using follower = old
  await follower.joinEpoch(join)
  await primary.takeBack(follower.readAside('1-3' as QueueId), 3)
  await primary.takeBack(follower.readAside('1-4' as QueueId), 4)
  primary.stopLeading()
  await primary.joinEpoch({ epoch: 5, parting: 3, forcedEpoch: 3 })
  expect({ aside: ids(primary), table: primary.epochTable(), last: primary.lastSequence() }).toEqual({
    aside: ['1-4'],
    table: [
      { epoch: 1, last: 2, takenBack: 3 },
      { epoch: 3, last: 3, takenBack: 0 },
    ],
    last: 3,
  })
  expect(primary.readAside('1-4' as QueueId).content.toString()).toBe('d')
})

test('a leader that has set something aside itself takes it back and lets it go', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await leader[Symbol.asyncDispose]()
  await using queue = old
  await queue.joinEpoch(join)
  await queue.beginEpoch(4)
  for (const [nth, { queueId }] of queue.aside().entries()) await queue.takeBack(queue.readAside(queueId), 3 + nth)
  queue.setCommitted(queue.lastSequence())
  expect({ aside: ids(queue), due: due(queue).length, content: queue.readContent('1-5' as QueueId)?.toString() }).toEqual({
    aside: [],
    due: 8,
    content: 'e',
  })
})

test('what does not fit is refused and changes nothing', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  const { leader, old } = await parted(one.path, two.path)
  await using primary = leader
  await using follower = old
  await follower.joinEpoch(join)
  const fourth = follower.readAside('1-4' as QueueId)
  await expect(primary.takeBack(fourth, 5)).rejects.toThrow('messages of epoch 1 must be offered from 3 on')
  await expect(primary.takeBack({ ...fourth, content: Buffer.from('x') }, 3)).rejects.toThrow(
    'offered 1-4, its content: must be as it was accepted, was of another checksum',
  )
  await expect(primary.takeBack({ ...fourth, queueId: '3-9' as QueueId }, 1)).rejects.toThrow(
    'a message that is taken back must be of an epoch before 3, was of 3',
  )
  await expect(follower.takeBack(fourth, 3)).rejects.toThrow('this copy of the queue must lead to be changed, but follows')
  expect(() => follower.readAside('1-9' as QueueId)).toThrow('1-9: must be set aside, was not')
  expect(primary.lastSequence()).toBe(2)
})

test('notes move with the queue: by entries, by a full copy, and back with a cut', async () => {
  using one = temporaryDirectory()
  using two = temporaryDirectory()
  await using primary = await openCopy(one.path)
  await using follower = await openCopy(two.path)
  await primary.beginEpoch(1)
  await primary.note('gate one.example', 'closed')
  await primary.note('gate two.example', 'open')
  await primary.note('gate two.example', undefined)
  await follow(follower, primary)
  expect([...follower.notes()]).toEqual([['gate one.example', 'closed']])
  follower.setCommitted(1)

  await primary.note('gate one.example', 'open')
  await follow(follower, primary)
  await follower.joinEpoch({ epoch: 2, parting: 3, forcedEpoch: 0 })
  expect([...follower.notes()]).toEqual([['gate one.example', 'closed']])

  await primary.note('gate three.example', 'probing')
  primary.setCommitted(5)
  using source = primary.openCopySource()
  const target = await follower.beginCopy({ epoch: 2, forcedEpoch: 0, state: source.state })
  await target.finish()
  expect(follower.notes()).toEqual(primary.notes())
  await expect(primary.note('', 'x')).rejects.toThrow('the key of a note must be of 1 to 255 bytes, was of 0')
  await expect(follower.note('a', 'x')).rejects.toThrow('this copy of the queue must lead')
})
