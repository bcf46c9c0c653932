import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatQueueId, parseQueueId } from './queue-id.ts'

test('a queue id is epoch and sequence', () => {
  expect(formatQueueId({ epoch: 3, sequence: 1204 })).toBe('3-1204')
  expect(parseQueueId('3-1204')).toEqual({ epoch: 3, sequence: 1204 })
})

test('what was formatted is parsed to the same position', () => {
  const position = fc.record({ epoch: fc.integer({ min: 1, max: 2 ** 32 - 1 }), sequence: fc.integer({ min: 1, max: 2 ** 48 - 1 }) })
  fc.assert(
    fc.property(position, (value) => {
      expect(parseQueueId(formatQueueId(value))).toEqual(value)
    }),
  )
})

test.each(['', '1', '1-', '-1', '0-1', '1-0', '01-1', '1-01', '1-1 ', '1-1-1', 'a-1', '1-1e3', '99999999999-1'])(
  '%j is no queue id',
  (text) => {
    expect(() => parseQueueId(text)).toThrow(`not a queue id: must be EPOCH-SEQUENCE, was ${JSON.stringify(text)}`)
  },
)
