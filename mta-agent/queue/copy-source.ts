import type { QueueId } from '../domain/queue-id.ts'
import { deliveryRowsOf } from './copied-message.ts'
import { queueIdKey, readDeliveryKey, readQueueIdKey } from './keys.ts'
import type { CopiedMessage, CopySource, CopyState } from './log-queue.ts'
import { decodeMessage } from './message-record.ts'
import { readNotes } from './notes.ts'
import { CorruptRecord } from './record.ts'
import { currentOf, decodePosition, POSITION_KEY, tableOf } from './store-meta.ts'
import type { Row, Tables, TablesView } from './tables.ts'
import { checkContent } from './verify-store.ts'

/**
 * The giving side of a full copy (hot standby, section 7): the queue at one place of its log, whatever is stored and delivered meanwhile.
 * Rejected: naming the queue as it changes, while entries already stream. It would not hold pages of an old state, but each message could
 * be named before or after an entry that concerns it, and the other side would have to know which.
 */

const STRETCH_MESSAGES = 200
const STRETCH_BYTES = 2 ** 20

export function openCopySource(tables: Tables): CopySource {
  const snapshot = tables.snapshot()
  try {
    return new SnapshotSource(snapshot)
  } catch (error) {
    snapshot[Symbol.dispose]()
    throw error
  }
}

class SnapshotSource implements CopySource {
  readonly state: CopyState
  readonly #view: TablesView & Disposable

  constructor(view: TablesView & Disposable) {
    const record = view.get('meta', POSITION_KEY)
    if (!record) throw new CorruptRecord('meta position', 'there', 'missing')
    const position = decodePosition(record)
    this.state = {
      table: tableOf(position),
      sequence: currentOf(position).sequence,
      totals: position.totals,
      handled: position.handled,
      notes: readNotes(view),
    }
    this.#view = view
  }

  *inventory(): Generator<readonly CopiedMessage[]> {
    let stretch: CopiedMessage[] = []
    let bytes = 0
    let after: Buffer | undefined
    for (;;) {
      const rows = this.#view.range('messages', { ...(after && { after }), limit: STRETCH_MESSAGES })
      for (const row of rows) {
        const message = this.#describe(row)
        stretch.push(message)
        bytes += sizeOf(message)
        if (stretch.length < STRETCH_MESSAGES && bytes < STRETCH_BYTES) continue
        yield stretch
        stretch = []
        bytes = 0
      }
      if (rows.length < STRETCH_MESSAGES) break
      after = rows.at(-1)?.key
    }
    if (stretch.length > 0) yield stretch
  }

  #describe({ key, value }: Row): CopiedMessage {
    const queueId = readQueueIdKey(key)
    const deliveries = deliveryRowsOf(this.#view, queueId).map((row) => ({
      destination: readDeliveryKey(row.key).destination,
      row: row.value,
    }))
    return { queueId, record: value, deliveries }
  }

  content(queueId: QueueId): Buffer | undefined {
    const key = queueIdKey(queueId)
    const record = this.#view.get('messages', key)
    if (!record) throw new RangeError(`${queueId}: must be in the inventory, was not`)
    try {
      return checkContent(this.#view.get('bodies', key), decodeMessage(record, `messages ${queueId}`), `bodies ${queueId}`)
    } catch (error) {
      if (error instanceof CorruptRecord) return undefined
      throw error
    }
  }

  [Symbol.dispose](): void {
    this.#view[Symbol.dispose]()
  }
}

const sizeOf = ({ record, deliveries }: CopiedMessage): number => deliveries.reduce((sum, { row }) => sum + row.length, record.length)
