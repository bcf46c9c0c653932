import { describe, expect, test } from 'vitest'
import type { Beginning } from './arrival.ts'
import { turnsBySession, turnsOf } from './turns.ts'

const OWNERS = new Map([
  ['192.0.2.11', 'a'],
  ['192.0.2.12', 'a'],
  ['192.0.2.21', 'b'],
])
const begun = (seconds: number, sourceAddress: string): Beginning => ({
  provider: 'plain',
  session: 1,
  sourceAddress,
  at: new Date(seconds * 1000).toISOString(),
})

test('one who takes over once has the second of two turns', () => {
  const beginnings = [begun(1, '192.0.2.11'), begun(2, '192.0.2.12'), begun(9, '192.0.2.21'), begun(10, '192.0.2.21')]
  expect(turnsOf(beginnings, OWNERS)).toEqual([
    { owner: 'a', from: 1000, to: 2000, transactions: 2 },
    { owner: 'b', from: 9000, to: 10_000, transactions: 2 },
  ])
})

test('one transaction of the old one after the first of the new one is a turn of its own', () => {
  const beginnings = [begun(10, '192.0.2.21'), begun(9.5, '192.0.2.12'), begun(1, '192.0.2.11'), begun(9, '192.0.2.21')]
  expect(turnsOf(beginnings, OWNERS).map(({ owner }) => owner)).toEqual(['a', 'b', 'a', 'b'])
})

test('addresses of other streams do not count', () => {
  expect(turnsOf([begun(1, '192.0.2.11'), begun(2, '192.0.2.41'), begun(3, '192.0.2.12')], OWNERS)).toEqual([
    { owner: 'a', from: 1000, to: 3000, transactions: 2 },
  ])
})

describe('where all send from the same address', () => {
  const reigns = [
    { owner: 'a', at: 0 },
    { owner: 'b', at: 5000 },
  ]
  const inSession = (session: number, seconds: number): Beginning => ({ ...begun(seconds, '192.0.2.11'), session })
  const ownersOf = (...beginnings: readonly Beginning[]) => turnsBySession(beginnings, ['192.0.2.11'], reigns).map(({ owner }) => owner)

  test('a connection is his who reigned when it was first used', () => {
    expect(turnsBySession([inSession(1, 1), inSession(1, 4), inSession(2, 6)], ['192.0.2.11'], reigns)).toEqual([
      { owner: 'a', from: 1000, to: 4000, transactions: 2 },
      { owner: 'b', from: 6000, to: 6000, transactions: 1 },
    ])
  })

  test('one that the old one still uses after the new one has begun is a turn of its own', () => {
    expect(ownersOf(inSession(1, 1), inSession(2, 6), inSession(1, 7), inSession(2, 8))).toEqual(['a', 'b', 'a', 'b'])
  })

  test('the same number at another provider is another connection', () => {
    expect(ownersOf(inSession(1, 1), { ...inSession(1, 6), provider: 'starttls' })).toEqual(['a', 'b'])
  })
})
