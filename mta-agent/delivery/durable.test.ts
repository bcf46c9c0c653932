import { expect, test } from 'vitest'
import { message, settings } from '#test/builders/delivery.ts'
import { openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { openTables } from '#agent/queue/lmdb-queue-store.ts'
import { openQueueStore } from '#agent/queue/log-queue-store.ts'
import { NoSpace, type Tables } from '#agent/queue/tables.ts'
import { openProvider } from '#test/internet/provider.ts'
import { openScheduler } from './scheduler.ts'

/** The loop over the queue that is on disk. */

/** Nothing here takes long; a busy machine may. */
const LONG = { timeout: 30_000 }
const broken = (cause: unknown): never => {
  throw cause
}
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

test('what was cut off in one life of the agent arrives in the next, once, and the report of a bounce too', async () => {
  using directory = temporaryDirectory()
  await using provider = await openProvider({
    name: 'plain',
    behaviour: {
      rules: [
        { at: 'rcpt', match: { localPart: 'gone' }, action: { do: 'reply', reply: '550 5.1.1 No such user' } },
        { at: 'rcpt', match: { localPart: 'slow' }, times: 1, action: { do: 'hang' } },
      ],
    },
  })
  const start = (store: Awaited<ReturnType<typeof openQueue>>) =>
    openScheduler({
      store,
      settings: () => settings(provider),
      log: quiet,
      clock: () => Date.now(),
      random: Math.random,
      signal: new AbortController().signal,
      onBroken: broken,
    })
  {
    await using store = await openQueue(directory.path)
    for (const user of ['a', 'b', 'gone', 'slow', 'c']) await store.append(message([`${user}@example.com`, `${user}@example.net`]))
    const scheduler = start(store)
    await expect.poll(() => store.totals().messages, LONG).toBe(1)
    await scheduler.stop(100)
  }
  await using store = await openQueue(directory.path)
  expect(store.totals()).toMatchObject({ messages: 1, deferred: 0 })
  await using _scheduler = start(store)
  await expect.poll(() => store.totals().messages, LONG).toBe(0)
  const arrived = provider.arrivals().map(({ sender, recipients }) => `${sender} > ${recipients.map(({ address }) => address).join(' ')}`)
  const domains = ['example.com', 'example.net']
  expect(arrived.toSorted()).toEqual(
    [
      ...['a', 'b', 'c', 'slow'].flatMap((user) => domains.map((domain) => `sender@example.org > ${user}@${domain}`)),
      ...domains.map(() => ' > sender@example.org'),
    ].toSorted(),
  )
})

test('a disk that is full to the end does not keep a stop from ending, and what was not recorded is told', async () => {
  using directory = temporaryDirectory()
  await using provider = await openProvider({ name: 'plain' })
  const opened = openTables(directory.path)
  let isFull = false
  const commit: Tables['commit'] = (writes) => (isFull ? Promise.reject(new NoSpace('no space left')) : opened.commit(writes))
  const measureSpace = () => ({ volumeBytes: 2 ** 40, freeBytes: 2 ** 39, reusableBytes: 0 })
  const shard = { stream: 'news', shard: 0 }
  await using store = await openQueueStore({ ...opened, commit }, { shard, clock: Date.now, measureSpace, onBroken: broken })
  await store.append(message(['a@example.com']))
  isFull = true
  const told: unknown[] = []
  await using scheduler = openScheduler({
    store,
    settings: () => settings(provider),
    log: quiet,
    clock: Date.now,
    random: Math.random,
    signal: new AbortController().signal,
    onBroken: (cause) => told.push(cause),
  })
  await expect.poll(() => store.room(0), LONG).toBe('full')
  await scheduler.stop(100)
  expect(told).toEqual([new Error('the disk of the queue was full to the end: what came of attempts could not be recorded')])
  expect(scheduler.inFlight()).toBe(0)
})
