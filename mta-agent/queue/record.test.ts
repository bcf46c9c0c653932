import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seal, unseal } from './record.ts'

test('what is sealed comes out again', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
      expect(unseal('message', seal('message', a, b), 'here')).toEqual(Buffer.concat([a, b]))
    }),
  )
})

test('a single flipped bit anywhere is noticed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), fc.nat(), (payload, nth) => {
      const record = seal('delivery', payload)
      const bit = nth % (record.length * 8)
      record[bit >> 3]! ^= 1 << (bit & 7)
      expect(() => unseal('delivery', record, 'here')).toThrow(/^here: must be /)
    }),
  )
})

test.each([
  { what: 'too short', record: Buffer.from([1, 5]), error: 'log 7: must be at least 6 bytes, was 2' },
  { what: 'of the next version', record: Buffer.from([2, 5, 0, 0, 0, 0]), error: 'log 7: must be of format version 1, was 2' },
  { what: 'of an unknown kind', record: Buffer.from([1, 99, 0, 0, 0, 0]), error: 'log 7: must be of a known kind, was 99' },
  { what: 'of another kind', record: seal('position'), error: 'log 7: must be a record of kind message, was of kind position' },
  { what: 'damaged', record: Buffer.from([1, 5, 0, 0, 0, 0, 1]), error: 'log 7: must be of checksum 00000000, was d56f2b94' },
])('a record that is $what is refused with its place', ({ record, error }) => {
  expect(() => unseal('message', record, 'log 7')).toThrow(error)
})
