import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareQuantities, isQuantity, parseQuantity } from './quantity.ts'

const NANO = 1_000_000_000n

test.each([
  ['0', 0n],
  ['1', NANO],
  ['250m', NANO / 4n],
  ['1.5Gi', (NANO * 3n * 1024n ** 3n) / 2n],
  ['2e3', 2000n * NANO],
  ['1E3', 1000n * NANO],
  ['1E', 1000n ** 6n * NANO],
  ['5e-1', NANO / 2n],
  ['-1k', -1000n * NANO],
  ['.5', NANO / 2n],
  ['1n', 1n],
])('%s', (text, expected) => expect(parseQuantity(text)).toBe(expected))

test.each(['', '.', 'x', '1 Gi', '1gi', '1KiB', '1e', '--1', '1.2.3', 'Gi'])('%j is no quantity', (text) => {
  expect(isQuantity(text)).toBe(false)
  expect(() => parseQuantity(text)).toThrow(`must be a quantity (250m, 20Gi), was "${text}"`)
})

test('order is that of the numbers, whatever the unit', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 10n ** 12n), fc.bigInt(0n, 10n ** 12n), (a, b) => {
      const expected = a === b ? 0 : a < b ? -1 : 1
      expect(compareQuantities(`${a}Mi`, `${b * 1024n}Ki`)).toBe(expected)
      expect(compareQuantities(`${a}m`, `${b}000u`)).toBe(expected)
    }),
  )
})
