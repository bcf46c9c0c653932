import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { deferred, delivered, message, NOON, temporaryDirectory } from '#test/builders/queue.ts'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { openTables } from './lmdb-queue-store.ts'
import { openQueueStore } from './log-queue-store.ts'
import type { Tables } from './tables.ts'

const ROOM = { volumeBytes: 2 ** 40, freeBytes: 2 ** 39, reusableBytes: 0 }

// Seen as an agent that ended with "must be in the queue, was not", and as messages that arrived twice without any crash before.
test('what is read between a commit and the news of it is given once', async () => {
  using directory = temporaryDirectory()
  await using tables = openTables(directory.path)
  let between = (): void => {}
  const store = await openQueueStore(
    {
      ...tables,
      commit: async (writes) => {
        await tables.commit(writes)
        between()
        await turn()
      },
    },
    {
      shard: { stream: 'news', shard: 0 },
      clock: () => NOON,
      measureSpace: () => ROOM,
      onBroken: (error) => {
        throw error
      },
    },
  )
  await store.append(message())
  const given = store.takeDue(NOON, 1).map(({ queueId }) => queueId)
  await store.append(message())
  between = () => given.push(...store.takeDue(NOON, 10).map(({ queueId }) => queueId))
  await store.append(message())
  between = () => {}
  given.push(...store.takeDue(NOON, 10).map(({ queueId }) => queueId))
  expect(given.toSorted()).toEqual(['1-1', '1-2', '1-3'])

  for (const queueId of given) {
    await store.settle({
      queueId,
      destination: message().envelope.recipients[0]!.domain,
      at: NOON,
      outcomes: [{ index: 0, outcome: delivered }],
    })
  }
  expect(store.totals()).toMatchObject({ messages: 0, recipients: 0 })
})

// The last attempt is at the deadline, which may be a moment after the attempt before: by the time that one is on disk, it is due.
test.each(['takeDue', 'takeExpired'] as const)('a delivery whose deferral is being recorded is not given by %s', async (take) => {
  using directory = temporaryDirectory()
  await using tables = openTables(directory.path)
  let between = (): void => {}
  const commit: Tables['commit'] = async (writes) => {
    await tables.commit(writes)
    between()
    await turn()
  }
  const onBroken = (error: unknown): never => {
    throw error
  }
  const shard = { stream: 'news', shard: 0 }
  const store = await openQueueStore({ ...tables, commit }, { shard, clock: () => NOON, measureSpace: () => ROOM, onBroken })
  const takeAll = () => (take === 'takeDue' ? store.takeDue(NOON + 10, 10) : store.takeExpired(NOON + 10, 10))
  const settle = (queueId: QueueId, outcome: DeliveryOutcome, nextAttemptAt: number) => {
    const destination = message().envelope.recipients[0]!.domain
    return store.settle({ queueId, destination, at: NOON, outcomes: [{ index: 0, outcome }], nextAttemptAt })
  }

  const queueId = await store.append(message())
  // Due before it comes again: whoever takes this one looks for what follows in the lane.
  const other = await store.append(message())
  expect(store.takeDue(NOON, 1)).toMatchObject([{ queueId }])
  const early: string[] = []
  between = () => early.push(...takeAll().map((delivery) => delivery.queueId))
  await settle(queueId, deferred, NOON + 5)
  between = () => {}
  expect(early).toEqual([other])

  expect(takeAll()).toMatchObject([{ queueId, attempts: 1, dueAt: NOON + 5 }])
  expect(takeAll()).toEqual([])
  await settle(queueId, delivered, NOON)
  expect(store.totals()).toMatchObject({ messages: 1, recipients: 1 })
})
