import type { QueueId } from '../domain/queue-id.ts'
import type { Domain, Recipient } from '../domain/envelope.ts'
import { decodeDeliveryRow, encodeDeliveryRow, type DeliveryRow } from './delivery-row.ts'
import { deliveryKey, queueIdKey, scheduleKey } from './keys.ts'
import { messageOf, queueIdOf, type LogEntry, type Mark } from './log-entry.ts'
import { encodeMessage, sealPart, type MessageRecord } from './message-record.ts'
import { planNote } from './notes.ts'
import { NO_CHANGE, plus, type TotalsChange } from './queue-totals.ts'
import { seal, unseal } from './record.ts'
import type { Table, Write } from './tables.ts'

/**
 * What a log entry does to the tables. The same function serves the one who writes the entry and the one who replays it, so the two can
 * not differ. Nothing is written here; what throws has changed nothing.
 */
export type EntryPlan = {
  readonly writes: readonly PlannedWrite[]
  readonly totals: TotalsChange
  /** Rows that are new in the schedule, and rows that leave it. */
  readonly scheduled: readonly Buffer[]
  readonly unscheduled: readonly Buffer[]
}

/** `before`: what the row was until then, where the plan knows it; whoever keeps it for an undo need not read it. */
export type PlannedWrite = Write & { readonly before?: Before }
type Before = { readonly value: Buffer | undefined }

/** Of rows that are named by a message which is not in the queue yet, or by a time at which its delivery was not due. */
const NOTHING_BEFORE: Before = { value: undefined }

/** What the plan needs to see of the state before it. */
export type StateView = { get(table: Table, key: Buffer): Buffer | undefined }

/** Of the message that an entry brings: its content, and how it is encoded in the entry. */
export type MessageBytes = { readonly content: Buffer | undefined; readonly part: Buffer | undefined }

export function planEntry(entry: LogEntry, bytes: MessageBytes, view: StateView): EntryPlan {
  const message = messageOf(entry)
  if (entry.kind === 'takenBack') requireAbsent(entry.queueId, view)
  const stored = message ? planStored(queueIdOf(entry), message, bytes) : NOTHING
  if (entry.kind === 'noted') return { ...NOTHING, writes: [planNote(entry.key, entry.value)] }
  return entry.kind === 'settled' ? join(planMark(entry.mark, view), stored) : stored
}

function requireAbsent(queueId: QueueId, view: StateView): void {
  if (view.get('messages', queueIdKey(queueId)) !== undefined)
    throw new RangeError(`${queueId}: must not be in the queue to be taken back, was`)
}

const NOTHING: EntryPlan = { writes: [], totals: NO_CHANGE, scheduled: [], unscheduled: [] }

const join = (a: EntryPlan, b: EntryPlan): EntryPlan => ({
  writes: [...a.writes, ...b.writes],
  totals: plus(a.totals, b.totals),
  scheduled: [...a.scheduled, ...b.scheduled],
  unscheduled: [...a.unscheduled, ...b.unscheduled],
})

function planStored(queueId: QueueId, message: MessageRecord, { content, part }: MessageBytes): EntryPlan {
  const id = queueIdKey(queueId)
  const rows = buildRows(message)
  const slots = [...rows.keys()].map((destination) => ({ queueId, destination, dueAt: message.acceptedAt }))
  const scheduled = slots.map(scheduleKey)
  const before = NOTHING_BEFORE
  const writes: PlannedWrite[] = [{ table: 'messages', key: id, value: part ? sealPart(part) : encodeMessage(message), before }]
  if (content) writes.push({ table: 'bodies', key: id, value: content, before })
  for (const [destination, row] of rows)
    writes.push({ table: 'deliveries', key: deliveryKey({ queueId, destination }), value: encodeDeliveryRow(row), before })
  for (const key of scheduled) writes.push({ table: 'schedule', key, value: SCHEDULED, before })
  // Most messages have one destination; only the others pay for a count.
  if (rows.size > 1) writes.push({ table: 'remaining', key: id, value: encodeRemaining(rows.size), before })
  return {
    writes,
    totals: { messages: 1, recipients: message.envelope.recipients.length, deferred: 0, contentBytes: message.sizeBytes },
    scheduled,
    unscheduled: [],
  }
}

/** The key says all; the value only says that it is ours. */
export const SCHEDULED = seal('scheduled')

function buildRows(message: MessageRecord): ReadonlyMap<Domain, DeliveryRow> {
  const byDestination = new Map<Domain, (Recipient & { index: number })[]>()
  for (const [index, recipient] of message.envelope.recipients.entries()) {
    const group = byDestination.get(recipient.domain)
    if (group) group.push({ ...recipient, index })
    else byDestination.set(recipient.domain, [{ ...recipient, index }])
  }
  const { acceptedAt, sizeBytes } = message
  return new Map(
    [...byDestination].map(([destination, recipients]) => [
      destination,
      { dueAt: acceptedAt, attempts: 0, acceptedAt, sizeBytes, recipients },
    ]),
  )
}

function planMark(mark: Mark, view: StateView): EntryPlan {
  const key = deliveryKey(mark)
  const record = view.get('deliveries', key)
  if (!record) throw new RangeError(`${nameOf(mark)}: must be in the queue, was not`)
  const row = decodeDeliveryRow(record, `deliveries ${nameOf(mark)}`)
  const left = planRow(mark, row)
  const done = row.recipients.length - (left?.recipients.length ?? 0)
  const totals = { messages: 0, recipients: -done, deferred: deferredIn(left) - deferredIn(row), contentBytes: 0 }
  const delivery = { table: 'deliveries', key, before: { value: record } } as const
  const rest = left
    ? { writes: [{ ...delivery, value: encodeDeliveryRow(left) }], totals: NO_CHANGE }
    : planDestinationDone(mark.queueId, delivery, row.sizeBytes, view)
  const slot = scheduleKey({ ...mark, dueAt: row.dueAt })
  if (left?.dueAt === row.dueAt) return { writes: rest.writes, totals, scheduled: [], unscheduled: [] }
  const scheduled = left ? [scheduleKey({ ...mark, dueAt: left.dueAt })] : []
  return {
    writes: [
      { table: 'schedule', key: slot, before: { value: SCHEDULED } },
      ...rest.writes,
      ...scheduled.map((next) => ({ table: 'schedule' as const, key: next, value: SCHEDULED, before: NOTHING_BEFORE })),
    ],
    totals: plus(totals, rest.totals),
    scheduled,
    unscheduled: [slot],
  }
}

type Part = { readonly writes: readonly PlannedWrite[]; readonly totals: TotalsChange }

/** The row after the attempt; undefined when nobody is left in it. */
function planRow(mark: Mark, row: DeliveryRow): DeliveryRow | undefined {
  const outcomes = new Map(mark.outcomes.map(({ index, outcome }) => [index, outcome.kind]))
  const known = new Set(row.recipients.map((recipient) => recipient.index))
  if (outcomes.size < mark.outcomes.length)
    throw new RangeError(`${nameOf(mark)}: each recipient must have one outcome at most, one had more`)
  for (const index of outcomes.keys()) {
    if (!known.has(index))
      throw new RangeError(`${nameOf(mark)}: an outcome must be of one of recipients ${[...known].join(', ')}, was of ${index}`)
  }
  const anyDeferred = [...outcomes.values()].includes('deferred')
  if (anyDeferred && mark.nextAttemptAt === undefined)
    throw new RangeError(`${nameOf(mark)}: nextAttemptAt must be given with a deferred recipient, was not`)
  const recipients = row.recipients.filter(({ index }) => (outcomes.get(index) ?? 'deferred') === 'deferred')
  if (recipients.length === 0) return undefined
  return { ...row, recipients, attempts: row.attempts + (anyDeferred ? 1 : 0), dueAt: mark.nextAttemptAt ?? row.dueAt }
}

/** `delivery`: how its row goes. */
function planDestinationDone(queueId: QueueId, delivery: PlannedWrite, sizeBytes: number, view: StateView): Part {
  const key = queueIdKey(queueId)
  const counted = view.get('remaining', key)
  const count = { table: 'remaining', key, before: { value: counted } } as const
  const remaining = counted ? decodeRemaining(counted, queueId) - 1 : 0
  if (remaining > 0) return { writes: [delivery, { ...count, value: encodeRemaining(remaining) }], totals: NO_CHANGE }
  const writes: PlannedWrite[] = [delivery, { table: 'messages', key }, { table: 'bodies', key }]
  if (counted) writes.push(count)
  return { writes, totals: { messages: -1, recipients: 0, deferred: 0, contentBytes: -sizeBytes } }
}

const deferredIn = (row: DeliveryRow | undefined): number => (row && row.attempts > 0 ? row.recipients.length : 0)
const nameOf = (mark: Mark): string => `${mark.queueId} to ${mark.destination}`

export function encodeRemaining(count: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(count, 0)
  return seal('remaining', bytes)
}

export const decodeRemaining = (record: Buffer, queueId: QueueId): number =>
  unseal('remaining', record, `remaining ${queueId}`).readUInt32BE(0)
