import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { delivered, message, NOON, temporaryDirectory } from '#test/builders/queue.ts'
import { openTables } from './lmdb-queue-store.ts'
import { openQueueStore } from './log-queue-store.ts'

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
