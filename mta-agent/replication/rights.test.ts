import { expect, test } from 'vitest'
import { addressLifetimeSeconds, beaconSent, isBound, NO_RIGHTS, pledge, promiseReceived, released, rightUntil } from './rights.ts'
import { DEFAULT_TIMERS as timers } from './timers.ts'

const b = { instance: 'b', copy: 'b1' }
const c = { instance: 'c', copy: 'c1' }
const sentTwice = beaconSent(beaconSent(NO_RIGHTS, 1_000, timers), 1_500, timers)

test('a right counts from the sending of the latest beacon that was answered, in whatever order answers come', () => {
  const rights = promiseReceived(promiseReceived(sentTwice, b, 2), b, 1)
  expect(rightUntil(rights, [b], timers)).toBe(1_500 + timers.right)
})

test('with two standbys the right ends with the earlier of the two', () => {
  const rights = promiseReceived(promiseReceived(sentTwice, b, 2), c, 1)
  expect(rightUntil(rights, [b, c], timers)).toBe(1_000 + timers.right)
})

test('one standby that has not promised is enough for no right', () => {
  expect(rightUntil(promiseReceived(sentTwice, b, 2), [b, c], timers)).toBe(Number.NEGATIVE_INFINITY)
})

test('a set of one needs nobody', () => {
  expect(rightUntil(NO_RIGHTS, [], timers)).toBe(Number.POSITIVE_INFINITY)
})

test('an answer to a beacon that was never sent, or is older than a right, is nothing', () => {
  expect(promiseReceived(sentTwice, b, 3)).toBe(sentTwice)
  const later = beaconSent(sentTwice, 1_200 + timers.right, timers)
  expect(later.sent).toEqual([
    { number: 2, at: 1_500 },
    { number: 3, at: 1_200 + timers.right },
  ])
  expect(promiseReceived(later, b, 1)).toBe(later)
})

test('another copy of the same instance has not promised', () => {
  const rights = promiseReceived(sentTwice, b, 2)
  expect(rightUntil(rights, [{ instance: 'b', copy: 'b2' }], timers)).toBe(Number.NEGATIVE_INFINITY)
})

test.each([
  { until: 5_000, at: 1_000, want: 4 },
  { until: 5_000, at: 1_001, want: 3 },
  { until: 5_000, at: 4_100, want: 0 },
  { until: 5_000, at: 9_000, want: 0 },
  { until: Number.POSITIVE_INFINITY, at: 9_000, want: 4 },
  { until: Number.NEGATIVE_INFINITY, at: 9_000, want: 0 },
])('a right until $until gives the kernel $want s at $at', ({ until, at, want }) => {
  expect(addressLifetimeSeconds(until, at, timers)).toBe(want)
})

test('a promise binds from its arrival, is never shortened by a later one, and ends by the word of the primary', () => {
  const given = pledge(pledge(undefined, 2_000, timers), 1_000, timers)
  expect(given).toEqual({ boundUntil: 2_000 + timers.promise, heardOver: 0 })
  expect([isBound(given, 1_999 + timers.promise), isBound(given, 2_000 + timers.promise), isBound(released(3), 0)]).toEqual([
    true,
    false,
    false,
  ])
})
