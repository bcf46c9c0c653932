import { expect, test } from 'vitest'
import { buildTimers, DEFAULT_TIMERS, DRIFT, FAST_TIMERS } from './timers.ts'

test.each([
  { change: { beacon: 700 }, want: 'timers must keep beacon ≤ right / 8: 700 ms is more than 613 ms' },
  { change: { right: 5_000 }, want: 'timers must keep right ≤ promise · (1 − ρ) / (1 + ρ): 5000 ms is more than 4909 ms' },
  { change: { removeAfter: 2_900 }, want: 'timers must keep removeAfter + 2 · call ≤ right − stop: 4700 ms is more than 4600 ms' },
  { change: { harmlessPause: 2_600 }, want: 'timers must keep harmlessPause ≤ removeAfter: 2600 ms is more than 2500 ms' },
  { change: { stall: 1_900 }, want: 'timers must keep harmlessPause ≤ stall: 2000 ms is more than 1900 ms' },
  { change: { attachWait: 1_500 }, want: 'timers must keep kernelLate · (1 + ρ) / (1 − ρ) ≤ attachWait: 1528 ms is more than 1500 ms' },
  { change: { promise: Number.NaN }, want: 'timer promise must be a positive number of milliseconds, was NaN' },
])('timers with $change are not built', ({ change, want }) => {
  expect(() => buildTimers({ ...DEFAULT_TIMERS, ...change })).toThrow(new RangeError(want))
})

test.each([DEFAULT_TIMERS, FAST_TIMERS])('a right of $right ms ends before the promise it rests on, at the worst drift', (timers) => {
  const rightInTrueTime = timers.right / (1 - DRIFT)
  const promiseInTrueTime = timers.promise / (1 + DRIFT)
  expect(rightInTrueTime).toBeLessThanOrEqual(promiseInTrueTime)
})
