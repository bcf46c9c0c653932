import { crc32 } from 'node:zlib'

/**
 * How a record lies on disk: format version, kind, CRC-32 of kind and payload, payload. A record that does not say what it must is an
 * error that names where it lies; it is never skipped, because behind it may be somebody's mail.
 */

export const FORMAT_VERSION = 1
const HEADER_BYTES = 6

/** One number per kind of record, so that a row of one table is not taken for one of another. Numbers are never used twice. */
const KINDS = {
  identity: 1,
  position: 2,
  stored: 3,
  settled: 4,
  message: 5,
  delivery: 6,
  remaining: 7,
  sentinel: 8,
  scheduled: 9,
  undo: 10,
  aside: 11,
  takenBack: 12,
  noted: 13,
  note: 14,
} as const
export type RecordKind = keyof typeof KINDS

/** A record is damaged, or of a version that this program does not know. `where` is table and key. */
export class CorruptRecord extends Error {
  override readonly name = 'CorruptRecord'
  readonly where: string

  constructor(where: string, must: string, was: string) {
    super(`${where}: must be ${must}, was ${was}`)
    this.where = where
  }
}

/** The parts are copied once, into the record; none of them is kept. */
export function seal(kind: RecordKind, ...parts: readonly Uint8Array[]): Buffer {
  const record = Buffer.allocUnsafe(HEADER_BYTES + parts.reduce((sum, part) => sum + part.length, 0))
  record[0] = FORMAT_VERSION
  record[1] = KINDS[kind]
  let at = HEADER_BYTES
  for (const part of parts) {
    record.set(part, at)
    at += part.length
  }
  record.writeUInt32BE(checksumOf(record), 2)
  return record
}

/** The payload, as a view of the record. Throws CorruptRecord. */
export function unseal(kind: RecordKind, record: Buffer, where: string): Buffer {
  if (record[1] !== KINDS[kind] || record[0] !== FORMAT_VERSION || record.length < HEADER_BYTES) {
    throw new CorruptRecord(where, `a record of kind ${kind}`, `of kind ${kindOf(record, where)}`)
  }
  const stated = record.readUInt32BE(2)
  const actual = checksumOf(record)
  if (stated !== actual) throw new CorruptRecord(where, `of checksum ${hex(stated)}`, hex(actual))
  return payloadOf(record)
}

/** The payload of a record that was sealed or unsealed here, as a view of it. */
export const payloadOf = (record: Buffer): Buffer => record.subarray(HEADER_BYTES)

/** The kind a record claims to be; nothing else is checked but version and length. Throws CorruptRecord. */
export function kindOf(record: Buffer, where: string): RecordKind {
  if (record.length < HEADER_BYTES) throw new CorruptRecord(where, `at least ${HEADER_BYTES} bytes`, `${record.length}`)
  if (record[0] !== FORMAT_VERSION) throw new CorruptRecord(where, `of format version ${FORMAT_VERSION}`, `${record[0]}`)
  const kind = BY_NUMBER.get(record[1]!)
  if (!kind) throw new CorruptRecord(where, 'of a known kind', `${record[1]}`)
  return kind
}

const BY_NUMBER: ReadonlyMap<number, RecordKind> = new Map(Object.entries(KINDS).map(([kind, number]) => [number, kind as RecordKind]))

const checksumOf = (record: Buffer): number => crc32(record.subarray(HEADER_BYTES), record[1]!)
const hex = (number: number): string => number.toString(16).padStart(8, '0')

/** JSON that was sealed by us: the checksum vouches for its shape. */
export const sealJson = (kind: RecordKind, value: unknown): Buffer => seal(kind, Buffer.from(JSON.stringify(value)))
export const unsealJson = (kind: RecordKind, record: Buffer, where: string): unknown => JSON.parse(unseal(kind, record, where).toString())
