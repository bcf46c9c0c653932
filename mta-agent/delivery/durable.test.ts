import { expect, test } from 'vitest'
import { message, settings } from '#test/builders/delivery.ts'
import { openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { openProvider } from '#test/internet/provider.ts'
import { openScheduler } from './scheduler.ts'

/** The loop over the queue that is on disk. */

/** Nothing here takes long; a busy machine may. */
const LONG = { timeout: 4_500 }
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
