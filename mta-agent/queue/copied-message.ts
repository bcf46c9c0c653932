import type { Domain } from '../domain/envelope.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { decodeDeliveryRow } from './delivery-row.ts'
import { queueIdKey, readDeliveryKey, scheduleKey, SENTINEL, type DeliveryName } from './keys.ts'
import type { CopiedMessage } from './log-queue.ts'
import { SCHEDULED, encodeRemaining, type EntryPlan } from './plan-entry.ts'
import { NO_CHANGE, plus, type TotalsChange } from './queue-totals.ts'
import type { Row, TablesView, Write } from './tables.ts'

/** One message with all that is still to be done for it, taken out of a queue or put into one as it is, without an entry of the log. */

const SLICE = 100

/** Its rows in the table of deliveries. */
export function deliveryRowsOf(view: TablesView, queueId: QueueId): readonly Row[] {
  const id = queueIdKey(queueId)
  const end = Buffer.concat([id, SENTINEL])
  const rows: Row[] = []
  let after: Buffer = id
  for (;;) {
    const slice = view.range('deliveries', { after, end, limit: SLICE })
    rows.push(...slice)
    const last = slice.at(-1)
    if (slice.length < SLICE || !last) return rows
    after = last.key
  }
}

/** The message leaves the queue; its content stays where it is. */
export function planTakenOut(view: TablesView, queueId: QueueId): EntryPlan {
  const key = queueIdKey(queueId)
  const rows = deliveryRowsOf(view, queueId).map(readRow)
  return {
    writes: [
      { table: 'messages', key },
      { table: 'remaining', key },
      ...rows.flatMap(({ key: delivery, slot }): readonly Write[] => [
        { table: 'deliveries', key: delivery },
        { table: 'schedule', key: slot },
      ]),
    ],
    totals: minus(sumOf(rows)),
    scheduled: [],
    unscheduled: rows.map(({ slot }) => slot),
  }
}

/** The message is put where none of its name is; its content comes by itself. Throws CorruptRecord where a delivery is damaged. */
export function planPutIn(message: CopiedMessage): EntryPlan {
  const { queueId, record } = message
  const key = queueIdKey(queueId)
  const rows = rowsOf(message)
  return {
    writes: [
      { table: 'messages', key, value: record },
      ...(rows.length > 1 ? [{ table: 'remaining' as const, key, value: encodeRemaining(rows.length) }] : []),
      ...rows.flatMap(({ key: delivery, value, slot }): readonly Write[] => [
        { table: 'deliveries', key: delivery, value },
        { table: 'schedule', key: slot, value: SCHEDULED },
      ]),
    ],
    totals: sumOf(rows),
    scheduled: rows.map(({ slot }) => slot),
    unscheduled: [],
  }
}

/** Whether the queue has the message in this very state. */
export function isThere(view: TablesView, { queueId, record, deliveries }: CopiedMessage): boolean {
  const mine = deliveryRowsOf(view, queueId)
  return (
    view.get('messages', queueIdKey(queueId))?.equals(record) === true &&
    mine.length === deliveries.length &&
    mine.every(({ key, value }, index) => {
      const other = deliveries[index]!
      return readDeliveryKey(key).destination === other.destination && value.equals(other.row)
    })
  )
}

type DeliveryParts = Row & {
  readonly slot: Buffer
  readonly recipients: number
  readonly deferred: number
  readonly sizeBytes: number
}

const rowsOf = ({ queueId, deliveries }: CopiedMessage): readonly DeliveryParts[] =>
  deliveries.map(({ destination, row }) => readRow({ key: keyOf({ queueId, destination }), value: row }))

const keyOf = ({ queueId, destination }: { queueId: QueueId; destination: Domain }): Buffer =>
  Buffer.concat([queueIdKey(queueId), Buffer.from(destination)])

function readRow({ key, value }: Row): DeliveryParts {
  const name: DeliveryName = readDeliveryKey(key)
  const { dueAt, attempts, recipients, sizeBytes } = decodeDeliveryRow(value, `deliveries ${name.queueId} to ${name.destination}`)
  const count = recipients.length
  return { key, value, slot: scheduleKey({ ...name, dueAt }), recipients: count, deferred: attempts > 0 ? count : 0, sizeBytes }
}

/** A message without deliveries is none: it is finished. */
function sumOf(rows: readonly DeliveryParts[]): TotalsChange {
  const [first] = rows
  if (!first) return NO_CHANGE
  return rows
    .map(({ recipients, deferred }) => ({ messages: 0, recipients, deferred, contentBytes: 0 }))
    .reduce(plus, { messages: 1, recipients: 0, deferred: 0, contentBytes: first.sizeBytes })
}

const minus = ({ messages, recipients, deferred, contentBytes }: TotalsChange): TotalsChange =>
  plus(NO_CHANGE, { messages: -messages, recipients: -recipients, deferred: -deferred, contentBytes: -contentBytes })
