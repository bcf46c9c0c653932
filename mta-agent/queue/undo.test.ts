import { expect, test } from 'vitest'
import { decodeUndo, encodeUndo, readFrees, type Undo } from './undo.ts'
import { sequenceKey } from './keys.ts'

const key = (text: string): Buffer => Buffer.from(text)

const undo: Undo = {
  totals: { messages: 3, recipients: 4, deferred: 1, contentBytes: 9000 },
  restores: [
    { table: 'messages', key: key('m'), value: key('envelope') },
    { table: 'schedule', key: key('slot') },
    { table: 'notes', key: key('n'), value: key('') },
  ],
  frees: [key('body'), key('other')],
}

test.each<{ what: string; undo: Undo }>([
  { what: 'rows as they were, rows that were not, and what may go', undo },
  { what: 'nothing but the totals', undo: { totals: undo.totals, restores: [], frees: [] } },
])('an undo says what it was made of: $what', ({ undo: one }) => {
  const record = encodeUndo(one)
  expect(decodeUndo(record, 'undo 1')).toEqual(one)
  expect(readFrees(sequenceKey(1), record)).toEqual(one.frees)
})
