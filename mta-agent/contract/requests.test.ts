import { expect, test } from 'vitest'
import { formatPromotion, parsePromotion, parseSwitchover } from './requests.ts'

test('a promotion names the version of the record, and says whether an incomplete copy will do', () => {
  expect(['4711', ' 4711  incomplete '].map(parsePromotion)).toEqual([
    { recordVersion: '4711', incompleteToo: false },
    { recordVersion: '4711', incompleteToo: true },
  ])
  expect(['', 'now', '4711 complete', '4711 incomplete please'].map(parsePromotion)).toEqual([undefined, undefined, undefined, undefined])
  expect(['4711', '4711 incomplete'].map((text) => formatPromotion(parsePromotion(text)!))).toEqual(['4711', '4711 incomplete'])
})

test('a switchover names the epoch that shall end', () => {
  expect(['7', ' 12 ', '', '0', '7.5', 'now'].map(parseSwitchover)).toEqual([7, 12, undefined, undefined, undefined, undefined])
})
