import type { QueueId } from '../domain/queue-id.ts'
import { queueIdKey, readDeliveryKey, readQueueIdKey, SENTINEL, type DeliveryName } from './keys.ts'
import { decodeMessage } from './message-record.ts'
import type { Millis } from './queue-store.ts'
import type { Tables } from './tables.ts'

/** The oldest messages, whatever their schedule says: how mail that nobody tries to deliver still comes back to its sender. */

const SLICE = 100
const LOOKAHEAD = 100

/**
 * Messages accepted before a time, oldest first. Queue ids follow the order of acceptance closely, not exactly: a slow client's message
 * was stamped long before it was stored. So the walk ends only after some that are young enough.
 */
export function* expiredMessages(tables: Tables, acceptedBefore: Millis): Generator<QueueId> {
  let young = 0
  let after: Buffer | undefined
  for (;;) {
    const rows = tables.range('messages', { ...(after && { after }), limit: SLICE })
    for (const { key, value } of rows) {
      const queueId = readQueueIdKey(key)
      if (decodeMessage(value, `messages ${queueId}`).acceptedAt < acceptedBefore) yield queueId
      else if (++young === LOOKAHEAD) return
    }
    if (rows.length < SLICE) return
    after = rows.at(-1)?.key
  }
}

/** What is still to be done for one message. */
export function* deliveriesOf(tables: Tables, queueId: QueueId): Generator<DeliveryName> {
  const id = queueIdKey(queueId)
  const end = Buffer.concat([id, SENTINEL])
  let after: Buffer = id
  for (;;) {
    const keys = tables.keys('deliveries', { after, end, limit: SLICE })
    yield* keys.map(readDeliveryKey)
    const last = keys.at(-1)
    if (keys.length < SLICE || !last) return
    after = last
  }
}
