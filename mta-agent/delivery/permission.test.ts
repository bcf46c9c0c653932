import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { isEmpty, message, outcomesOf, settings, startDelivery } from '#test/builders/delivery.ts'
import { openProvider } from '#test/internet/provider.ts'

/** Hot standby, R1: one that may not act begins no transaction and completes none. */

test('without the right to act nothing is begun; with it, mail leaves by itself', async () => {
  await using provider = await openProvider({ name: 'plain' })
  let may = false
  await using running = startDelivery(settings(provider), { permission: { mayStart: () => may, mayAct: () => may } })
  await running.queue.append(message(['user@example.com']))
  await pause(250)
  expect([provider.arrivals(), running.counted]).toEqual([[], []])
  may = true
  await running.queue.settledUntil(isEmpty)
  expect(outcomesOf(running.queue)).toEqual(['0 delivered 250 2.0.0'])
})

test('a right that ended when the connection was there begins no transaction', async () => {
  await using provider = await openProvider({ name: 'plain' })
  const answers = [true, false]
  await using running = startDelivery(settings(provider), { permission: { mayStart: () => answers.shift() ?? true, mayAct: () => true } })
  await running.queue.append(message(['user@example.com']))
  await running.queue.settledUntil(isEmpty)
  expect(running.counted.filter((what) => /^(connection opened|transaction)/.test(what))).toEqual([
    'connection opened',
    'transaction lost',
    'connection opened',
    'transaction completed',
  ])
  expect(provider.arrivals().map(({ outcome }) => outcome)).toEqual(['arrived'])
})

test.each([
  { what: 'a small message', body: 'Hello\r\n' },
  { what: 'a large one', body: 'Hello, hello, hello, hello, hello, hello, hello, hello.\r\n'.repeat(4_000) },
])('$what whose right ends before its final dot is not completed, and not counted as tried', async ({ body }) => {
  await using provider = await openProvider({ name: 'plain' })
  const answers = [false]
  await using running = startDelivery(settings(provider), { permission: { mayStart: () => true, mayAct: () => answers.shift() ?? true } })
  await running.queue.append(message(['user@example.com'], {}, body))
  await running.queue.settledUntil(isEmpty)
  expect(running.counted.filter((what) => what.startsWith('transaction'))).toEqual(['transaction lost', 'transaction completed'])
  expect(outcomesOf(running.queue)).toEqual(['0 delivered 250 2.0.0'])
  expect(provider.arrivals().filter(({ outcome }) => outcome === 'arrived')).toHaveLength(1)
})
