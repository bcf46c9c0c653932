import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  advanceTable,
  cutTable,
  type EpochTable,
  haveOf,
  judgeOffer,
  keptAside,
  partingPoint,
  planCatchUp,
  planOffers,
  setAside,
} from './follow.ts'

const row = (epoch: number, last: number, takenBack = 0) => ({ epoch, last, takenBack })
const message = (epoch: number, sequence: number) => ({ origin: { epoch, sequence } })

describe('where two logs part', () => {
  test.each([
    { name: 'the same log', mine: [row(1, 5)], theirs: [row(1, 5)], want: 5 },
    { name: 'one behind', mine: [row(1, 5)], theirs: [row(1, 5), row(2, 9)], want: 5 },
    { name: 'a tail that nobody took', mine: [row(1, 8)], theirs: [row(1, 5), row(2, 9)], want: 5 },
    { name: 'a reign the other never saw', mine: [row(1, 5), row(2, 7)], theirs: [row(1, 5), row(3, 9)], want: 5 },
    { name: 'nothing in common', mine: [row(2, 7)], theirs: [row(3, 9)], want: 0 },
    { name: 'an empty log', mine: [], theirs: [row(3, 9)], want: 0 },
    { name: 'a row that only tells what was taken back', mine: [row(1, 0, 6), row(3, 4)], theirs: [row(1, 6), row(4, 9)], want: 0 },
  ])('$name: $want', ({ mine, theirs, want }) => {
    expect(partingPoint(mine, theirs)).toBe(want)
  })

  type Entry = { readonly epoch: number }
  const tableOf = (log: readonly Entry[]): EpochTable =>
    log.reduce<EpochTable>((table, { epoch }, i) => {
      const position = { epoch, sequence: i + 1 }
      return advanceTable(table, position, position)
    }, [])
  const reigns = fc.array(fc.nat(3), { minLength: 1, maxLength: 6 })

  test('is the common prefix, for any two logs of which each epoch has one writer', () => {
    fc.assert(
      fc.property(reigns, fc.nat(20), reigns, (shared, cut, later) => {
        const base = shared.flatMap((entries, i) => Array.from({ length: entries }, () => ({ epoch: 2 * i + 1 })))
        const kept = base.slice(0, cut)
        const other = [
          ...kept,
          ...later.flatMap((entries, i) => Array.from({ length: entries }, () => ({ epoch: 2 * (shared.length + i) }))),
        ]
        expect(partingPoint(tableOf(base), tableOf(other))).toBe(kept.length)
        expect(partingPoint(tableOf(other), tableOf(base))).toBe(kept.length)
      }),
    )
  })
})

test('what was trimmed needs a full copy', () => {
  expect([planCatchUp(41, 42), planCatchUp(40, 42)]).toEqual([{ kind: 'entries', from: 42 }, { kind: 'fullCopy' }])
})

test('only what was first accepted before the forced promotion is set aside', () => {
  expect(setAside([message(2, 7), message(3, 8), message(4, 9)], 4)).toEqual([message(2, 7), message(3, 8)])
})

describe('hand-over', () => {
  const table = [row(2, 6, 8), row(5, 12)]

  test('a taken message moves the row of its origin', () => {
    expect(advanceTable([row(2, 6, 8), row(5, 11)], { epoch: 5, sequence: 12 }, { epoch: 2, sequence: 9 })).toEqual([
      row(2, 6, 9),
      row(5, 12),
    ])
  })

  test('is offered from where the other table ends, in order', () => {
    expect(planOffers([message(3, 4), message(2, 10), message(2, 9), message(2, 8)], table)).toEqual([
      { epoch: 2, from: 9, to: 10, messages: [message(2, 9), message(2, 10)] },
      { epoch: 3, from: 1, to: 4, messages: [message(3, 4)] },
    ])
  })

  test.each([
    { name: 'from the end of the table', offer: { epoch: 2, from: 9, to: 10, messages: [message(2, 9), message(2, 10)] }, want: 'take' },
    { name: 'again', offer: { epoch: 2, from: 7, to: 8, messages: [message(2, 8)] }, want: 'NotWhereTheTableEnds' },
    { name: 'with a gap', offer: { epoch: 2, from: 10, to: 10, messages: [message(2, 10)] }, want: 'NotWhereTheTableEnds' },
    { name: 'in another order', offer: { epoch: 2, from: 9, to: 10, messages: [message(2, 10), message(2, 9)] }, want: 'NotInOrder' },
    { name: 'of two epochs', offer: { epoch: 2, from: 9, to: 10, messages: [message(3, 9)] }, want: 'NotInOrder' },
  ])('an offer $name: $want', ({ offer, want }) => {
    expect(judgeOffer(offer, table)).toBe(want)
  })

  test('is let go when the own durable log has it', () => {
    expect(keptAside([message(2, 7), message(2, 9), message(3, 1)], table)).toEqual([message(2, 9), message(3, 1)])
  })

  test('that is cut off again is asked for again', () => {
    const cut = cutTable([row(2, 6, 9), row(5, 12)], 10, [
      { epoch: 2, sequence: 8 },
      { epoch: 2, sequence: 9 },
    ])
    expect(cut).toEqual([row(2, 6, 7), row(5, 10)])
    expect(haveOf(cut, 2)).toBe(7)
  })

  test('a cut before an epoch began forgets the epoch', () => {
    expect(cutTable([row(2, 6), row(5, 12)], 4, [])).toEqual([row(2, 4)])
  })
})
