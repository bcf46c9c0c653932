import { expect, test } from 'vitest'
import { cellOfCoordinator, cellOfMain, createCell } from './shared-cell.ts'

const NEVER = Number.NEGATIVE_INFINITY
const ALWAYS = Number.POSITIVE_INFINITY

test('in the beginning nothing may be done, and nothing is stalled', () => {
  const buffer = createCell(1_000)
  const main = cellOfMain(buffer)
  expect([main.mayAct(1_000), main.mayStart(1_000), main.actsUntil(), main.rightUntil(), main.attachFrom()]).toEqual([
    false,
    false,
    NEVER,
    NEVER,
    ALWAYS,
  ])
  expect(cellOfCoordinator(buffer).stalledFor(1_250.5)).toBe(250.5)
})

test('what the coordinator permits ends to the microsecond', () => {
  const buffer = createCell(0)
  cellOfCoordinator(buffer).permit({ acts: 4_600.125, starts: NEVER, right: 4_900.125, attachFrom: 1_600 })
  const main = cellOfMain(buffer)
  expect([main.mayAct(4_600.124), main.mayAct(4_600.125), main.mayStart(0), main.rightUntil()]).toEqual([true, false, false, 4_900.125])
})

test('a set of one may act for ever', () => {
  const buffer = createCell(0)
  cellOfCoordinator(buffer).permit({ acts: ALWAYS, starts: ALWAYS, right: ALWAYS, attachFrom: 0 })
  expect([cellOfMain(buffer).mayAct(Number.MAX_SAFE_INTEGER), cellOfMain(buffer).mayStart(1e300)]).toEqual([true, true])
})

test.each([
  { name: 'the loop does not move', moved: 1_000, syncing: undefined, want: 3_000 },
  { name: 'an fsync does not return', moved: 3_990, syncing: 1_500, want: 2_500 },
  { name: 'both are well', moved: 3_990, syncing: 3_995, want: 10 },
  { name: 'the loop has moved just after the clock was read', moved: 4_001, syncing: undefined, want: 0 },
])('stalled, when $name', ({ moved, syncing, want }) => {
  const buffer = createCell(0)
  const main = cellOfMain(buffer)
  main.moved(moved)
  main.syncing(syncing)
  expect(cellOfCoordinator(buffer).stalledFor(4_000)).toBe(want)
})
