import { expect, test } from 'vitest'
import type { Hello } from './messages.ts'
import { planStart } from './plan-start.ts'

const row = (epoch: number, last: number) => ({ epoch, last, takenBack: 0 })
const log = { epoch: 3, forcedEpoch: 2, table: [row(1, 10), row(2, 20), row(3, 30)], firstSequence: 1 }
const hello: Hello = {
  kind: 'hello',
  versions: { least: 1, most: 1 },
  token: 'token',
  table: [row(1, 10), row(2, 15)],
  complete: true,
  cutsTo: 0,
  aside: 0,
}
const byLog = (from: number) => ({ kind: 'entries', from })
const fullCopy = { kind: 'fullCopy' }

test.each([
  { what: 'one that lacks the end goes on from there', hello: {}, log: {}, with: byLog(16) },
  { what: 'one with nothing begins at the beginning', hello: { table: [] }, log: {}, with: byLog(1) },
  { what: 'one that has all waits for what comes', hello: { table: log.table }, log: {}, with: byLog(31) },
  { what: 'a tail that the primary lacks is cut', hello: { table: [row(1, 14)], cutsTo: 8 }, log: {}, with: byLog(11) },
  { what: 'a tail that can no longer be cut needs a full copy', hello: { table: [row(1, 14)], cutsTo: 11 }, log: {}, with: fullCopy },
  { what: 'what was trimmed needs a full copy', hello: {}, log: { firstSequence: 17 }, with: fullCopy },
  { what: 'the first that was not trimmed is enough', hello: {}, log: { firstSequence: 16 }, with: byLog(16) },
  { what: 'half a copy is copied to its end', hello: { complete: false }, log: {}, with: fullCopy },
])('$what', ({ hello: differences, log: other, with: expected }) => {
  expect(planStart({ ...hello, ...differences }, { ...log, ...other })).toEqual({
    kind: 'start',
    version: 1,
    table: log.table,
    forcedEpoch: 2,
    with: expected,
  })
})

test.each([
  {
    what: 'one that speaks only what is newer',
    hello: { versions: { least: 2, most: 4 } },
    refused: { because: 'NoCommonVersion', text: 'the link must be of version 1 to 1, was of 2 to 4' },
  },
  {
    what: 'one whose log is of a higher epoch',
    hello: { table: [row(4, 31)] },
    refused: { because: 'OtherEpoch', text: "the standby's log must be of epoch 3 at most, was of 4" },
  },
])('$what is refused', ({ hello: differences, refused }) => {
  expect(planStart({ ...hello, ...differences }, log)).toEqual({ kind: 'refused', ...refused })
})
