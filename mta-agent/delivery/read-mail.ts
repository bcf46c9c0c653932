import type { QueueId } from '../domain/queue-id.ts'
import type { QueueStore, StoredMessage } from '../queue/queue-store.ts'
import { CorruptRecord } from '../queue/record.ts'

/**
 * Reading what the queue holds, where the disk may not give back what it was given. Damage to one message is that message's affair: it is
 * told of, never sent, and stops no other. Anything else that goes wrong here is thrown.
 */

export type OnDamage = (queueId: QueueId, damage: CorruptRecord) => void

/** undefined: the content is damaged, and `onDamage` has heard of it. */
export function readContent(store: Pick<QueueStore, 'readContent'>, queueId: QueueId, onDamage: OnDamage): Buffer | undefined {
  return unlessDamaged(queueId, onDamage, () =>
    requirePresent(store.readContent(queueId), `the content of ${queueId} must be there while a delivery of it is taken, was not`),
  )
}

/** undefined: the envelope is damaged, and `onDamage` has heard of it. */
export function readMessage(store: Pick<QueueStore, 'readMessage'>, queueId: QueueId, onDamage: OnDamage): StoredMessage | undefined {
  return unlessDamaged(queueId, onDamage, () =>
    requirePresent(store.readMessage(queueId), `${queueId} must be in the queue while a delivery of it is taken, was not`),
  )
}

function unlessDamaged<T>(queueId: QueueId, onDamage: OnDamage, read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error
    onDamage(queueId, error)
    return undefined
  }
}

function requirePresent<T>(value: T | undefined, otherwise: string): T {
  if (value === undefined) throw new Error(otherwise)
  return value
}
