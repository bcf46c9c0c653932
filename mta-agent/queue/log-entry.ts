import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Domain } from '../domain/envelope.ts'
import { formatQueueId, type LogPosition, type QueueId } from '../domain/queue-id.ts'
import { queueIdKey, QUEUE_ID_BYTES, readQueueIdKey } from './keys.ts'
import { decodeContentFacts, decodeMessagePart, encodeMessagePart, type MessageRecord } from './message-record.ts'
import type { Millis } from './queue-store.ts'
import { CorruptRecord, kindOf, payloadOf, seal, unseal, type RecordKind } from './record.ts'

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
    /** A message of an earlier log, under its name of then (R8). */
    | { readonly kind: 'takenBack'; readonly queueId: QueueId; readonly message: MessageRecord }
    /** Something else that moves with the queue; without value it is gone. */
    | { readonly kind: 'noted'; readonly key: string; readonly value?: string }
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
    case 'takenBack':
      return seal('takenBack', fixed, queueIdKey(entry.queueId), encodeMessagePart(entry.message))
    case 'noted':
      return seal('noted', fixed, Buffer.from(JSON.stringify({ key: entry.key, value: entry.value })))
  }
}

export function decodeLogEntry(record: Buffer, where: string): LogEntry {
  const kind = kindOf(record, where)
  if (!isEntryKind(kind)) throw new CorruptRecord(where, 'a log entry', `a record of kind ${kind}`)
  const payload = unseal(kind, record, where)
  const head = { ...readHead(payload), at: payload.readUIntBE(10, 6) }
  switch (kind) {
    case 'stored':
      return { ...head, kind, message: decodeMessagePart(payload.subarray(FIXED_BYTES)) }
    case 'settled': {
      const reportAt = FIXED_BYTES + 4 + payload.readUInt32BE(FIXED_BYTES)
      const mark = JSON.parse(payload.toString('utf8', FIXED_BYTES + 4, reportAt)) as Mark
      if (reportAt === payload.length) return { ...head, kind, mark }
      return { ...head, kind, mark, report: decodeMessagePart(payload.subarray(reportAt)) }
    }
    case 'takenBack':
      return {
        ...head,
        kind,
        queueId: readQueueIdKey(payload, FIXED_BYTES),
        message: decodeMessagePart(payload.subarray(FIXED_BYTES + QUEUE_ID_BYTES)),
      }
    case 'noted':
      return { ...head, kind, ...(JSON.parse(payload.toString('utf8', FIXED_BYTES)) as { key: string; value?: string }) }
  }
}

const ENTRY_KINDS: ReadonlySet<RecordKind> = new Set<LogEntry['kind']>(['stored', 'settled', 'takenBack', 'noted'])
const isEntryKind = (kind: RecordKind): kind is LogEntry['kind'] => ENTRY_KINDS.has(kind)

/** Checks the entry and gives its place and time without parsing the rest. */
export function readEntryHead(record: Buffer, where: string): LogPosition & { readonly at: Millis } {
  const payload = unseal(kindOf(record, where), record, where)
  return { ...readHead(payload), at: payload.readUIntBE(10, 6) }
}

const readHead = (payload: Buffer): LogPosition => ({ epoch: payload.readUInt32BE(0), sequence: payload.readUIntBE(4, 6) })

export type ContentFacts = Pick<MessageRecord, 'sizeBytes' | 'contentChecksum'> & { readonly queueId: QueueId }

/** Checks the entry, and says which content belongs to it, if any, without parsing the rest: each is read once for each copy that follows. */
export function readContentFacts(record: Buffer, where: string): ContentFacts | undefined {
  const kind = kindOf(record, where)
  if (!isEntryKind(kind)) throw new CorruptRecord(where, 'a log entry', `a record of kind ${kind}`)
  const payload = unseal(kind, record, where)
  switch (kind) {
    case 'stored':
      return { ...decodeContentFacts(payload.subarray(FIXED_BYTES)), queueId: formatQueueId(readHead(payload)) }
    case 'settled': {
      const reportAt = FIXED_BYTES + 4 + payload.readUInt32BE(FIXED_BYTES)
      if (reportAt === payload.length) return undefined
      return { ...decodeContentFacts(payload.subarray(reportAt)), queueId: formatQueueId(readHead(payload)) }
    }
    case 'takenBack':
      return { ...decodeContentFacts(payload.subarray(FIXED_BYTES + QUEUE_ID_BYTES)), queueId: readQueueIdKey(payload, FIXED_BYTES) }
    case 'noted':
      return undefined
  }
}

/** How the message that an entry brings is encoded, if it brings one. Of a record that was encoded or checked here, as a view of it. */
export function messagePartOf({ kind }: Pick<LogEntry, 'kind'>, record: Buffer): Buffer | undefined {
  const payload = payloadOf(record)
  switch (kind) {
    case 'stored':
      return payload.subarray(FIXED_BYTES)
    case 'settled': {
      const reportAt = FIXED_BYTES + 4 + payload.readUInt32BE(FIXED_BYTES)
      return reportAt === payload.length ? undefined : payload.subarray(reportAt)
    }
    case 'takenBack':
      return payload.subarray(FIXED_BYTES + QUEUE_ID_BYTES)
    case 'noted':
      return undefined
  }
}

/** The message that an entry brings into the queue, if any. */
export function messageOf(entry: LogEntry): MessageRecord | undefined {
  switch (entry.kind) {
    case 'stored':
    case 'takenBack':
      return entry.message
    case 'settled':
      return entry.report
    case 'noted':
      return undefined
  }
}

/** The name of that message: where it was first accepted, which for all but one that is taken back is here. */
export const queueIdOf = (entry: LogEntry): QueueId => (entry.kind === 'takenBack' ? entry.queueId : formatQueueId(entry))
