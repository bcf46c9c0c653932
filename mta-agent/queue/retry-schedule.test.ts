import fc from 'fast-check'
import { expect, test } from 'vitest'
import { planRetry, type RetryAnswer } from './retry-schedule.ts'

const ladder = { retrySeconds: [60, 300, 900], maxAgeSeconds: 3600 }
const question = { ladder, acceptedAt: 0, attempts: 1, now: 0, jitter: 0.5 }

test('the ladder is climbed step by step, and its last step repeats', () => {
  const waits = [1, 2, 3, 4, 50].map((attempts) => planRetry({ ...question, attempts }))
  expect(waits).toEqual([60_000, 300_000, 900_000, 900_000, 900_000].map((at) => ({ kind: 'retry', at })))
})

test('jitter spreads a wait by ten percent to both sides', () => {
  expect([0, 1].map((jitter) => planRetry({ ...question, jitter }))).toEqual([54_000, 66_000].map((at) => ({ kind: 'retry', at })))
})

test('the last attempt is at the maximum age, and after it the message has expired', () => {
  expect(planRetry({ ...question, attempts: 3, now: 3_000_000 })).toEqual({ kind: 'retry', at: 3_600_000 })
  expect(planRetry({ ...question, attempts: 4, now: 3_600_000 })).toEqual({ kind: 'expired' })
})

test('a message is attempted until its age is reached and never beyond, whatever the ladder', () => {
  const steps = fc.array(fc.integer({ min: 100, max: 100_000 }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 500_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (retrySeconds, maxAgeSeconds, jitter) => {
        const ladder = { retrySeconds, maxAgeSeconds }
        const times = [7]
        const next = (): RetryAnswer => planRetry({ ladder, attempts: times.length, acceptedAt: 7, now: times.at(-1)!, jitter })
        for (let answer = next(); answer.kind === 'retry'; answer = next()) times.push(answer.at)
        expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b))
        expect(times.at(-1)).toBe(7 + maxAgeSeconds * 1000)
      },
    ),
  )
})

test('a ladder without steps and an attempt before the first are refused', () => {
  expect(() => planRetry({ ...question, ladder: { ...ladder, retrySeconds: [] } })).toThrow(
    'retrySeconds must be a list of numbers above 0, was []',
  )
  expect(() => planRetry({ ...question, attempts: 0 })).toThrow('attempts must be a whole number of 1 or more, was 0')
})
