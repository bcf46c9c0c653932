import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Domain } from '../domain/envelope.ts'
import type { LogPosition, QueueId } from '../domain/queue-id.ts'
import { decodeMessagePart, encodeMessagePart, type MessageRecord } from './message-record.ts'
import type { Millis } from './queue-store.ts'
import { CorruptRecord, kindOf, seal, unseal } from './record.ts'

/**
 * The ordered log (hot standby, sections 2 and 7): every change of the queue is one entry, written in the transaction that makes the change.
 * Applying the entries from the first on to an empty store gives the same store; that is what a standby will do. An entry holds all of
 * a change but the content of a message, which travels beside it.
 */
export type LogEntry = LogPosition & {
  /** When it was written, by the wall clock of the writer; only trimming looks at it. */
  readonly at: Millis
} & (
    | { readonly kind: 'stored'; readonly message: MessageRecord }
    | { readonly kind: 'settled'; readonly mark: Mark; readonly report?: MessageRecord }
  )

/** What one attempt came to. */
export type Mark = {
  readonly queueId: QueueId
  readonly destination: Domain
  readonly at: Millis
  readonly outcomes: readonly { readonly index: number; readonly outcome: DeliveryOutcome }[]
  readonly nextAttemptAt?: Millis
}

const FIXED_BYTES = 16

export function encodeLogEntry(entry: LogEntry): Buffer {
  const fixed = Buffer.allocUnsafe(FIXED_BYTES)
  fixed.writeUInt32BE(entry.epoch, 0)
  fixed.writeUIntBE(entry.sequence, 4, 6)
  fixed.writeUIntBE(entry.at, 10, 6)
  switch (entry.kind) {
    case 'stored':
      return seal('stored', fixed, encodeMessagePart(entry.message))
    case 'settled': {
      const mark = Buffer.from(JSON.stringify(entry.mark))
      const markBytes = Buffer.allocUnsafe(4)
      markBytes.writeUInt32BE(mark.length, 0)
      return seal('settled', fixed, markBytes, mark, ...(entry.report ? [encodeMessagePart(entry.report)] : []))
    }
  }
}

export function decodeLogEntry(record: Buffer, where: string): LogEntry {
  const kind = kindOf(record, where)
  if (kind !== 'stored' && kind !== 'settled') throw new CorruptRecord(where, 'a log entry', `a record of kind ${kind}`)
  const payload = unseal(kind, record, where)
  const head = { ...readHead(payload), at: payload.readUIntBE(10, 6) }
  if (kind === 'stored') return { ...head, kind, message: decodeMessagePart(payload.subarray(FIXED_BYTES)) }
  const reportAt = FIXED_BYTES + 4 + payload.readUInt32BE(FIXED_BYTES)
  const mark = JSON.parse(payload.toString('utf8', FIXED_BYTES + 4, reportAt)) as Mark
  if (reportAt === payload.length) return { ...head, kind, mark }
  return { ...head, kind, mark, report: decodeMessagePart(payload.subarray(reportAt)) }
}

/** Checks the entry and gives its place and time without parsing the rest. */
export function readEntryHead(record: Buffer, where: string): LogPosition & { readonly at: Millis } {
  const payload = unseal(kindOf(record, where), record, where)
  return { ...readHead(payload), at: payload.readUIntBE(10, 6) }
}

const readHead = (payload: Buffer): LogPosition => ({ epoch: payload.readUInt32BE(0), sequence: payload.readUIntBE(4, 6) })

/** The message that an entry brings into the queue, if any; its queue id is the entry's position. */
export const messageOf = (entry: LogEntry): MessageRecord | undefined => (entry.kind === 'stored' ? entry.message : entry.report)
