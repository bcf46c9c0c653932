import { CorruptRecord, seal, unseal } from './record.ts'
import type { Row, TablesView, Write } from './tables.ts'

/** What else must move with the queue, so that a new primary knows it: a few short texts by name, changed by entries of the log. */

export const MAX_NOTES = 10_000
const MAX_KEY_BYTES = 255
const MAX_VALUE_BYTES = 65_536

export type Notes = ReadonlyMap<string, string>

/** Throws RangeError before anything is written. */
export function requireNote(key: string, value: string | undefined): void {
  const [keyBytes, valueBytes] = [Buffer.byteLength(key), Buffer.byteLength(value ?? '')]
  if (keyBytes === 0 || keyBytes > MAX_KEY_BYTES)
    throw new RangeError(`the key of a note must be of 1 to ${MAX_KEY_BYTES} bytes, was of ${keyBytes}`)
  if (valueBytes > MAX_VALUE_BYTES) throw new RangeError(`note ${key} must be of ${MAX_VALUE_BYTES} bytes at most, was of ${valueBytes}`)
}

export const planNote = (key: string, value: string | undefined): Write => ({
  table: 'notes',
  key: Buffer.from(key),
  ...(value !== undefined && { value: seal('note', Buffer.from(value)) }),
})

/** All of them. Throws CorruptRecord. */
export function readNotes(view: TablesView): Notes {
  const rows = view.range('notes', { limit: MAX_NOTES + 1 })
  if (rows.length > MAX_NOTES) throw new CorruptRecord('notes', `of ${MAX_NOTES} rows at most`, 'of more')
  return new Map(rows.map(({ key, value }: Row) => [key.toString(), unseal('note', value, `notes ${key.toString()}`).toString()]))
}

/** Those of another queue in place of the own. */
export const planAllNotes = (mine: Notes, theirs: Notes): readonly Write[] => [
  ...[...mine.keys()].filter((key) => !theirs.has(key)).map((key) => planNote(key, undefined)),
  ...[...theirs].map(([key, value]) => planNote(key, value)),
]
