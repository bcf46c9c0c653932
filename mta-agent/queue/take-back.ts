import { haveOf } from '../domain/epoch-table.ts'
import { parseQueueId } from '../domain/queue-id.ts'
import type { Batch } from './batch.ts'
import type { OfferedMessage } from './log-queue.ts'
import { decodeMessage } from './message-record.ts'
import type { Millis } from './queue-store.ts'
import { tableOf } from './store-meta.ts'
import { checkContent } from './verify-store.ts'

/**
 * The primary's side of a hand-over (R8): a message that another log had becomes an entry of this one, under its old name. What must never
 * happen: one is taken twice, also when it was delivered meanwhile; so each must begin where the epoch table ends, and moves it.
 */

/** Checks the message and gives what adds it to a batch. Throws CorruptRecord and RangeError, now or there. */
export function planTakingBack({ queueId, record, content }: OfferedMessage, from: number, at: Millis): (batch: Batch) => void {
  const where = `offered ${queueId}`
  const message = decodeMessage(record, where)
  checkContent(content, message, `${where}, its content`)
  return (batch) => {
    requireNext(batch, parseQueueId(queueId), from)
    batch.add({ ...batch.next(), at, kind: 'takenBack', queueId, message }, content)
  }
}

function requireNext(batch: Batch, { epoch, sequence }: { epoch: number; sequence: number }, from: number): void {
  const next = haveOf(tableOf(batch.position()), epoch) + 1
  if (from !== next || sequence < from)
    throw new RangeError(
      `messages of epoch ${epoch} must be offered from ${next} on, where its row ends, ${epoch}-${sequence} was from ${from}`,
    )
  if (epoch >= batch.next().epoch)
    throw new RangeError(`a message that is taken back must be of an epoch before ${batch.next().epoch}, was of ${epoch}`)
}
