import { expect, test } from 'vitest'
import type { StoredEntry } from './log-queue.ts'
import { RecentEntries } from './recent-entries.ts'

const entry = (sequence: number, bytes = 10): StoredEntry => ({ sequence, record: Buffer.alloc(bytes - 4), content: Buffer.alloc(4) })
const known = (recent: RecentEntries) => [1, 2, 3, 4, 5].filter((sequence) => recent.of(sequence) !== undefined)

test('the last entries are known until they are needed no more, or do not fit', () => {
  const recent = new RecentEntries(30)
  recent.note([entry(1), entry(2)])
  recent.note([entry(3)])
  const all = known(recent)
  recent.dropBefore(2)
  const needed = known(recent)
  recent.note([entry(4), entry(5)])
  expect({ all, needed, fitting: known(recent) }).toEqual({ all: [1, 2, 3], needed: [2, 3], fitting: [3, 4, 5] })
})

test('one larger than all may be is not known, and what follows is', () => {
  const recent = new RecentEntries(30)
  recent.note([entry(1), entry(2, 31)])
  const large = known(recent)
  recent.note([entry(3)])
  expect({ large, after: known(recent) }).toEqual({ large: [], after: [3] })
})

test('entries that do not follow those that are known put an end to them', () => {
  const recent = new RecentEntries(100)
  recent.note([entry(1), entry(2), entry(3)])
  const again = entry(2)
  recent.note([again])
  const cut = [known(recent), recent.of(2) === again]
  recent.note([entry(5)])
  expect({ cut, gap: known(recent) }).toEqual({ cut: [[2], true], gap: [5] })
})
