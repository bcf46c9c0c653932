import { expect, test } from 'vitest'
import { RecentFrees } from './recent-frees.ts'

const key = (text: string): Buffer => Buffer.from(text)

test('what an entry frees is known until it is forgotten, and is that of the entry that has its place now', () => {
  const frees = new RecentFrees()
  frees.note(1, [key('a')])
  frees.note(2, [])
  frees.note(3, [key('b')])
  frees.note(3, [key('c')])
  frees.drop(1, 2)
  expect([1, 2, 3, 4].map((sequence) => frees.of(sequence))).toEqual([undefined, [], [key('c')], undefined])
})

test('it knows 20,000 entries at most, and never what is no more', () => {
  const frees = new RecentFrees()
  for (let sequence = 1; sequence <= 20_001; sequence++) frees.note(sequence, [key('a')])
  frees.note(7, [key('b')])
  expect([7, 20_000, 20_001].map((sequence) => frees.of(sequence))).toEqual([[key('b')], [key('a')], undefined])
})
