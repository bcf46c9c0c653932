import { readSequenceKey } from './keys.ts'
import type { TotalsChange } from './queue-totals.ts'
import { CorruptRecord, seal, unseal } from './record.ts'
import { TABLES, type Table, type Tables, type Write } from './tables.ts'

/**
 * How to take an entry back (hot standby, R8): what it changed, as it was before. Kept beside the log for entries that not every copy in
 * the set has confirmed yet; a new primary may not have them. The content of a message is never in here: one that an entry finishes stays
 * where it is until the entry is committed (section 7), and is named in `frees`.
 */
export type Undo = {
  readonly totals: TotalsChange
  readonly restores: readonly Write[]
  /** Keys of contents that may go when the entry is committed. */
  readonly frees: readonly Buffer[]
}

const SLICE = 500

/** Everything in the log is committed from now on: nothing can be taken back, and what was kept for that goes. */
export async function forgetAll(tables: Tables): Promise<void> {
  for (;;) {
    const rows = tables.range('undo', { limit: SLICE })
    if (rows.length === 0) return
    // From the first on, so that what is left is the end of the log at every moment.
    await tables.commit(rows.flatMap(({ key, value }) => [...planForgetting(key, readFrees(key, value))]))
  }
}

/** What entry `key` finished may go, and it cannot be taken back any more. */
export const planForgetting = (key: Buffer, frees: readonly Buffer[]): readonly Write[] => [
  ...frees.map((body) => ({ table: 'bodies' as const, key: body })),
  { table: 'undo', key },
]

type Head = {
  readonly totals: TotalsChange
  /** Table, length of the key, length of the value; −1: the key goes. */
  readonly restores: readonly (readonly [table: Table, key: number, value: number])[]
  readonly frees: readonly number[]
}

const LENGTH_BYTES = 4

export function encodeUndo({ totals, restores, frees }: Undo): Buffer {
  const text = Buffer.from(formatHead({ totals, restores, frees }))
  const length = Buffer.allocUnsafe(LENGTH_BYTES)
  length.writeUInt32BE(text.length, 0)
  const parts: Buffer[] = []
  for (const { key, value } of restores) {
    parts.push(key)
    if (value !== undefined) parts.push(value)
  }
  return seal('undo', length, text, ...parts, ...frees)
}

/** A `Head` as JSON; made of names of tables and numbers only, of each entry once. */
function formatHead({ totals: { messages, recipients, deferred, contentBytes }, restores, frees }: Undo): string {
  const totals = `{"messages":${messages},"recipients":${recipients},"deferred":${deferred},"contentBytes":${contentBytes}}`
  let rows = ''
  for (const { table, key, value } of restores) rows += `${rows === '' ? '' : ','}["${table}",${key.length},${value?.length ?? -1}]`
  return `{"totals":${totals},"restores":[${rows}],"frees":[${frees.map((key) => key.length).join(',')}]}`
}

/** Keys of the contents that may go with entry `key`, without copying what could have been restored. They are what the record ends with. */
export function readFrees(key: Buffer, record: Buffer): readonly Buffer[] {
  const payload = unseal('undo', record, `undo ${readSequenceKey(key)}`)
  const head = readHead(payload)
  if (head.frees.length === 0) return []
  let at = payload.length - head.frees.reduce((sum, length) => sum + length, 0)
  return head.frees.map((length) => {
    at += length
    return Buffer.from(payload.subarray(at - length, at))
  })
}

const headEnd = (payload: Buffer): number => LENGTH_BYTES + payload.readUInt32BE(0)
const readHead = (payload: Buffer): Head => JSON.parse(payload.toString('utf8', LENGTH_BYTES, headEnd(payload))) as Head

/** Throws CorruptRecord. */
export function decodeUndo(record: Buffer, where: string): Undo {
  const payload = unseal('undo', record, where)
  let at = headEnd(payload)
  const head = readHead(payload)
  const take = (length: number): Buffer => {
    at += length
    if (at > payload.length) throw new CorruptRecord(where, `of ${at} bytes at least`, `of ${payload.length}`)
    return Buffer.from(payload.subarray(at - length, at))
  }
  const restores = head.restores.map(([table, keyBytes, valueBytes]): Write => {
    if (!TABLES.includes(table)) throw new CorruptRecord(where, `of one of the tables ${TABLES.join(', ')}`, table)
    const key = take(keyBytes)
    return valueBytes < 0 ? { table, key } : { table, key, value: take(valueBytes) }
  })
  return { totals: head.totals, restores, frees: head.frees.map(take) }
}
