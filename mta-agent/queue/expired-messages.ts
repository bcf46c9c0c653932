import type { QueueId } from '../domain/queue-id.ts'
import { queueIdKey, readDeliveryKey, readQueueIdKey, SENTINEL, type DeliveryName } from './keys.ts'
import { decodeMessage } from './message-record.ts'
import type { Millis } from './queue-store.ts'
import { CorruptRecord } from './record.ts'
import type { Row, TablesView } from './tables.ts'

/** The oldest messages, whatever their schedule says: how mail that nobody tries to deliver still comes back to its sender. */

const SLICE = 100
const LOOKAHEAD = 100

/**
 * Messages accepted before a time, oldest first. Queue ids follow the order of acceptance closely, not exactly: a slow client's message
 * was stamped long before it was stored. So the walk ends only after some that are young enough. One whose envelope is damaged is passed
 * over here, for nobody knows its age; it falls due like all others.
 */
export function* expiredMessages(tables: TablesView, acceptedBefore: Millis): Generator<QueueId> {
  let young = 0
  let after: Buffer | undefined
  for (;;) {
    const rows = tables.range('messages', { ...(after && { after }), limit: SLICE })
    for (const { key, value } of rows) {
      const acceptedAt = acceptedAtOf({ key, value })
      if (acceptedAt === undefined) continue
      if (acceptedAt < acceptedBefore) yield readQueueIdKey(key)
      else if (++young === LOOKAHEAD) return
    }
    if (rows.length < SLICE) return
    after = rows.at(-1)?.key
  }
}

/** When the first message was accepted, or the first whose envelope is sound; undefined when there is none among the first hundred. */
export function firstAcceptedAt(tables: TablesView): Millis | undefined {
  const [first] = tables.range('messages', { limit: 1 })
  if (first === undefined) return undefined
  const acceptedAt = acceptedAtOf(first)
  if (acceptedAt !== undefined) return acceptedAt
  return tables
    .range('messages', { limit: SLICE })
    .map(acceptedAtOf)
    .find((at) => at !== undefined)
}

function acceptedAtOf({ key, value }: Row): Millis | undefined {
  try {
    return decodeMessage(value, `messages ${readQueueIdKey(key)}`).acceptedAt
  } catch (error) {
    if (error instanceof CorruptRecord) return undefined
    throw error
  }
}

/** What is still to be done for one message. */
export function* deliveriesOf(tables: TablesView, queueId: QueueId): Generator<DeliveryName> {
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
