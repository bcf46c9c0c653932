import { expect, test } from 'vitest'
import type { Hello } from './messages.ts'
import { planStart } from './plan-start.ts'

const row = (epoch: number, last: number) => ({ epoch, last, takenBack: 0 })
const log = { epoch: 3, table: [row(1, 10), row(2, 20), row(3, 30)], firstSequence: 1 }
const hello: Hello = {
  kind: 'hello',
  versions: { least: 1, most: 1 },
  token: 'token',
  table: [row(1, 10), row(2, 15)],
  complete: true,
  cutsTo: 0,
  aside: 0,
}

test.each([
  { what: 'one that lacks the end goes on from there', hello: {}, log: {}, from: 16 },
  { what: 'one with nothing begins at the beginning', hello: { table: [] }, log: {}, from: 1 },
  { what: 'one that has all waits for what comes', hello: { table: log.table }, log: {}, from: 31 },
  { what: 'a tail that the primary lacks is cut', hello: { table: [row(1, 14)], cutsTo: 10 }, log: {}, from: 11 },
  { what: 'the first that was not trimmed is enough', hello: {}, log: { firstSequence: 16 }, from: 16 },
])('$what', ({ hello: differences, log: other, from }) => {
  expect(planStart({ ...hello, ...differences }, { ...log, ...other })).toEqual({ kind: 'entries', version: 1, from })
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

test.each([
  { what: 'one with half a copy', hello: { complete: false }, because: 'it has half a copy' },
  {
    what: 'one that can no longer cut what the primary lacks',
    hello: { table: [row(1, 14)], cutsTo: 11 },
    because: 'the logs part at 10, and it can cut its own at 11 or later only',
  },
  {
    what: 'one that lacks what was trimmed',
    hello: {},
    firstSequence: 17,
    because: 'the logs part at 15, and entries before 17 are trimmed',
  },
])('$what gets a full copy', ({ hello: differences, firstSequence, because }) => {
  const plan = planStart({ ...hello, ...differences }, { ...log, firstSequence: firstSequence ?? 1 })
  expect(plan).toEqual({ kind: 'fullCopy', version: 1, because })
})
