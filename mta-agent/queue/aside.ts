import { haveOf, type EpochTable, type Origin } from '../domain/epoch-table.ts'
import { parseQueueId, type QueueId } from '../domain/queue-id.ts'
import { deliveryRowsOf } from './copied-message.ts'
import { decodeDeliveryRow } from './delivery-row.ts'
import { queueIdKey, readDeliveryKey, readQueueIdKey } from './keys.ts'
import type { AsideMessage, OfferedMessage } from './log-queue.ts'
import type { LogWriter } from './log-writer.ts'
import { decodeMessage, decodeMessagePart, encodeMessage, encodeMessagePart, type MessageRecord } from './message-record.ts'
import { CorruptRecord, seal, unseal } from './record.ts'
import { tableOf } from './store-meta.ts'
import type { Tables, TablesView, Write } from './tables.ts'
import { checkContent } from './verify-store.ts'

/**
 * What was set aside (hot standby, R8): messages that are no part of this log any more, but whose clients may have been told 250. They lie
 * here, with their contents where they were, until the own log has them again. What must never happen: one goes before that.
 */

const SLICE = 1000

/** What is kept of a message: its envelope with those recipients only that are still to be served. Throws CorruptRecord, and RangeError where it is gone. */
export function describeAside(view: TablesView, queueId: QueueId): MessageRecord {
  const record = view.get('messages', queueIdKey(queueId))
  if (!record) throw new RangeError(`${queueId}: must be in the queue to be set aside, was not`)
  const message = decodeMessage(record, `messages ${queueId}`)
  const left = new Set(
    deliveryRowsOf(view, queueId).flatMap(({ key, value }) =>
      decodeDeliveryRow(value, `deliveries ${queueId} to ${readDeliveryKey(key).destination}`).recipients.map(({ index }) => index),
    ),
  )
  const recipients = message.envelope.recipients.filter((_, index) => left.has(index))
  return { ...message, envelope: { ...message.envelope, recipients } }
}

export const planAside = (queueId: QueueId, message: MessageRecord): Write => ({
  table: 'aside',
  key: queueIdKey(queueId),
  value: seal('aside', encodeMessagePart(message)),
})

/** In the order of their queue ids. */
export function listAside(view: TablesView): readonly AsideMessage[] {
  const found: AsideMessage[] = []
  let after: Buffer | undefined
  for (;;) {
    const rows = view.range('aside', { ...(after && { after }), limit: SLICE })
    for (const { key, value } of rows) {
      const queueId = readQueueIdKey(key)
      found.push({ queueId, origin: parseQueueId(queueId), sizeBytes: decodeAside(value, queueId).sizeBytes })
    }
    if (rows.length < SLICE) return found
    after = rows.at(-1)?.key
  }
}

function readAside(view: TablesView, queueId: QueueId): MessageRecord {
  const record = view.get('aside', queueIdKey(queueId))
  if (!record) throw new RangeError(`${queueId}: must be set aside, was not`)
  return decodeAside(record, queueId)
}

function decodeAside(record: Buffer, queueId: QueueId): MessageRecord {
  const part = unseal('aside', record, `aside ${queueId}`)
  const message = decodeMessagePart(part)
  if (message.envelope.recipients.length === 0) throw new CorruptRecord(`aside ${queueId}`, 'of one recipient at least', 'of none')
  return message
}

/** What the log, by its table, contains or took back: it is let go of (R8). */
export function* coveredAside(view: TablesView, table: EpochTable): Generator<Buffer> {
  let after: Buffer | undefined
  for (;;) {
    const keys = view.keys('aside', { ...(after && { after }), limit: SLICE })
    yield* keys.filter((key) => covers(table, parseQueueId(readQueueIdKey(key))))
    if (keys.length < SLICE) return
    after = keys.at(-1)
  }
}

/** Its content stays when the message is in the queue again. */
export function planLettingGo(view: Pick<TablesView, 'get'>, key: Buffer): readonly Write[] {
  const isQueued = view.get('messages', key) !== undefined
  return [{ table: 'aside', key }, ...(isQueued ? [] : [{ table: 'bodies' as const, key }])]
}

export const covers = (table: EpochTable, { epoch, sequence }: Origin): boolean => sequence <= haveOf(table, epoch)

/** Lets go of all that the own durable log contains or took back. */
export async function letGo(tables: Tables, writer: LogWriter): Promise<void> {
  for (;;) {
    const keys = [...coveredAside(tables, tableOf(writer.position()))].slice(0, SLICE)
    if (keys.length === 0) return
    await writer.change({
      sizeBytes: 0,
      whenFull: 'wait',
      addTo: (batch) => {
        for (const key of keys) for (const write of planLettingGo(batch, key)) batch.write(write)
      },
    })
  }
}

/** What `takeBack` of another copy needs. Throws RangeError where it is not here, and CorruptRecord where it is damaged. */
export function readOffered(view: TablesView, queueId: QueueId): OfferedMessage {
  const message = readAside(view, queueId)
  const content = checkContent(view.get('bodies', queueIdKey(queueId)), message, `bodies ${queueId}, set aside`)
  return { queueId, record: encodeMessage(message), content }
}
