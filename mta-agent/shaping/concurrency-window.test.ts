import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ConcurrencyWindow, grow, shrink } from './concurrency-window.ts'

test('refusals bring it down to what the host bears', () => {
  const refusedWith = [20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6]
  expect(refusedWith.reduce<ConcurrencyWindow | undefined>(shrink, undefined)).toEqual({ size: 5, answers: 0 })
})

test('a round of answers widens it by one, up to the configured limit', () => {
  const sizes: (number | undefined)[] = []
  let window: ConcurrencyWindow | undefined = { size: 2, answers: 0 }
  while (window !== undefined) {
    window = grow(window, 5)
    sizes.push(window?.size)
  }
  expect(sizes).toEqual([2, 3, 3, 3, 4, 4, 4, 4, undefined])
})

test('it is never below one, and never at or above the limit', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }), { maxLength: 200 }), (refusals) => {
      const window = refusals.reduce<ConcurrencyWindow | undefined>(
        (before, inUse) => (inUse === undefined ? before && grow(before, 20) : shrink(before, Math.min(inUse, 20))),
        undefined,
      )
      expect(window?.size ?? 1).toBeGreaterThanOrEqual(1)
      expect(window?.size ?? 1).toBeLessThan(20)
    }),
  )
})
