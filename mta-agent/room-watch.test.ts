import { expect, test } from 'vitest'
import { message } from '#test/builders/queue.ts'
import type { QueueId } from './domain/queue-id.ts'
import { QueueFull } from './queue/queue-store.ts'
import { RoomWatch } from './room-watch.ts'

test('mail counts as turned away for half a minute after it was refused for lack of room, at MAIL or at the final dot', async () => {
  let now = 1_000
  let full = true
  const store = {
    append: async () => {
      if (full) throw new QueueFull('no room')
      return '1-1' as QueueId
    },
    room: () => (full ? ('full' as const) : ('room' as const)),
  }
  const watch = new RoomWatch(store, () => now)
  const seen: Record<string, boolean> = { atFirst: watch.refusesMail() }
  await expect(watch.append(message())).rejects.toThrow(QueueFull)
  seen['afterAppend'] = watch.refusesMail()
  now += 30_000
  seen['later'] = watch.refusesMail()
  expect(watch.room(9)).toBe('full')
  now += 29_999
  seen['afterMail'] = watch.refusesMail()
  full = false
  now += 1
  expect([await watch.append(message()), watch.room(0)]).toEqual(['1-1', 'room'])
  seen['withRoom'] = watch.refusesMail()
  expect(seen).toEqual({ atFirst: false, afterAppend: true, later: false, afterMail: true, withRoom: false })
})
