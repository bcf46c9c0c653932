import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { afterSettles, isEmpty, message, settings, startDelivery } from '#test/builders/delivery.ts'
import { openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { openProvider } from '#test/internet/provider.ts'

/** What a destination taught one scheduler, the next one knows: after a restart, and after a hand-over, whose notes are the queue's own. */

test('a destination that is down is left alone after a restart until its back-off ends, and then asked once', async () => {
  await using provider = await openProvider({
    name: 'down',
    behaviour: { rules: [{ at: 'connect', action: { do: 'close' } }], tls: 'none' },
  })
  using directory = temporaryDirectory()
  await using notes = await openQueue(directory.path, { clock: Date.now })
  const first = startDelivery(settings(provider), { notes })
  await Promise.all(Array.from({ length: 3 }, () => first.queue.append(message(['user@example.com']))))
  await first.queue.settledUntil(afterSettles(3))
  await first.scheduler.stop(0)
  const { sessions } = provider.counts()
  expect(sessions).toBeGreaterThanOrEqual(3)

  await using second = startDelivery(settings(provider), { notes })
  await Promise.all(Array.from({ length: 10 }, () => second.queue.append(message(['user@example.com']))))
  await pause(300)
  expect(provider.counts().sessions).toBe(sessions)
  second.advance(60_000)
  await second.queue.settledUntil(afterSettles(1))
  await pause(100)
  expect([provider.counts().sessions, second.queue.settled.length]).toEqual([sessions + 1, 1])

  await provider.behave({ rules: [] })
  second.advance(120_000)
  await second.queue.settledUntil((queue) => queue.settled.length >= 10)
  second.advance(600_000)
  await second.queue.settledUntil(isEmpty)
  await second.scheduler.stop(0)
  expect([...notes.notes()]).toEqual([])
})
