import { expect, test } from 'vitest'
import { message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { planTrim } from './log-trimming.ts'

const HOUR = 3_600_000
const question = { keeping: { keepMillis: HOUR, keepEntries: 1000 }, first: 1, last: 100, now: NOON, writtenAt: () => NOON, atMost: 10 }

test.each([
  { what: 'young entries stay', differences: {}, first: 1 },
  { what: 'old entries go, few at a time', differences: { now: NOON + HOUR + 1 }, first: 11 },
  { what: 'only the old ones go', differences: { writtenAt: (sequence: number) => (sequence < 5 ? NOON - HOUR - 1 : NOON) }, first: 5 },
  { what: 'entries too far back go, however young', differences: { keeping: { keepMillis: HOUR, keepEntries: 95 } }, first: 6 },
  { what: 'the last entry always stays', differences: { first: 95, now: NOON + 2 * HOUR }, first: 100 },
  { what: 'an empty log stays empty', differences: { first: 1, last: 0 }, first: 1 },
])('$what', ({ differences, first }) => {
  expect(planTrim({ ...question, ...differences })).toBe(first)
})

test('the log is trimmed as it grows, and says where it begins', async () => {
  using directory = temporaryDirectory()
  const logKeeping = { keepMillis: HOUR, keepEntries: 5 }
  const queue = await openQueue(directory.path, { logKeeping })
  for (let count = 0; count < 20; count++) await queue.append(message())

  expect({ first: queue.firstSequence(), last: queue.lastSequence() }).toEqual({ first: 15, last: 20 })
  expect(queue.readLog(15, 100).map((entry) => entry.sequence)).toEqual([15, 16, 17, 18, 19, 20])
  expect(() => queue.readLog(14, 1)).toThrow('the log must be read from 15 on, was from 14')
  expect(queue.readLog(21, 1)).toEqual([])
  await queue[Symbol.asyncDispose]()

  await using after = await openQueue(directory.path, { logKeeping })
  expect(after.firstSequence()).toBe(15)
  expect(after.takeDue(NOON, 100)).toHaveLength(20)
})
