import { formatQueueId, parseQueueId, type QueueId } from '../domain/queue-id.ts'
import type { Domain } from '../domain/envelope.ts'
import type { Millis } from './queue-store.ts'

/** Keys are bytes whose order is the order that is wanted: numbers big-endian, the most significant thing first. */

const SEQUENCE_BYTES = 6
const TIME_BYTES = 6
export const QUEUE_ID_BYTES = 10
const MAX_EPOCH = 0xfe_ff_ff_ff
const MAX_U48 = 2 ** 48 - 1

export function sequenceKey(sequence: number): Buffer {
  return u48(requireU48(sequence, 'a sequence'))
}

export const readSequenceKey = (key: Buffer): number => key.readUIntBE(0, SEQUENCE_BYTES)

// Keys are made in one piece: each message has several, and a buffer costs more than what is written into it.
export const queueIdKey = (queueId: QueueId): Buffer => writeQueueId(Buffer.allocUnsafe(QUEUE_ID_BYTES), 0, queueId)

function writeQueueId(key: Buffer, at: number, queueId: QueueId): Buffer {
  const { epoch, sequence } = parseQueueId(queueId)
  if (epoch > MAX_EPOCH) throw new RangeError(`an epoch must be at most ${MAX_EPOCH}, was ${epoch}`)
  key.writeUInt32BE(epoch, at)
  key.writeUIntBE(requireU48(sequence, 'a sequence'), at + 4, SEQUENCE_BYTES)
  return key
}

export const readQueueIdKey = (key: Buffer, offset = 0): QueueId =>
  formatQueueId({ epoch: key.readUInt32BE(offset), sequence: key.readUIntBE(offset + 4, SEQUENCE_BYTES) })

/** One message at one destination. */
export type DeliveryName = { readonly queueId: QueueId; readonly destination: Domain }

export function deliveryKey({ queueId, destination }: DeliveryName): Buffer {
  const key = Buffer.allocUnsafe(QUEUE_ID_BYTES + destination.length)
  key.write(destination, QUEUE_ID_BYTES, 'latin1')
  return writeQueueId(key, 0, queueId)
}

export const readDeliveryKey = (key: Buffer): DeliveryName => ({
  queueId: readQueueIdKey(key),
  destination: key.toString('latin1', QUEUE_ID_BYTES) as Domain,
})

export type ScheduleSlot = DeliveryName & { readonly dueAt: Millis }

/** The destination, a zero, the time, the queue id: the rows of a destination lie together, in the order they fall due. */
export function scheduleKey({ dueAt, queueId, destination }: ScheduleSlot): Buffer {
  const dueFrom = destination.length + 1
  const key = Buffer.allocUnsafe(dueFrom + DUE_BYTES)
  key.write(destination, 0, 'latin1')
  key[dueFrom - 1] = 0
  key.writeUIntBE(requireU48(dueAt, 'dueAt'), dueFrom, TIME_BYTES)
  return writeQueueId(key, dueFrom + TIME_BYTES, queueId)
}

const DUE_BYTES = TIME_BYTES + QUEUE_ID_BYTES

export const readScheduleKey = (key: Buffer): ScheduleSlot => ({
  dueAt: readDueAt(key),
  queueId: readScheduledId(key),
  destination: readDestination(key),
})

export const readScheduledId = (key: Buffer): QueueId => readQueueIdKey(key, key.length - QUEUE_ID_BYTES)
export const readDestination = (key: Buffer): Domain => key.toString('latin1', 0, key.length - DUE_BYTES - 1) as Domain
export const readDueAt = (key: Buffer): Millis => key.readUIntBE(key.length - DUE_BYTES, TIME_BYTES)

/** By time, then by age of the message, and by name only between destinations of one message. */
export const compareDue = (a: Buffer, b: Buffer): number =>
  a.compare(b, b.length - DUE_BYTES, b.length, a.length - DUE_BYTES, a.length) || a.compare(b)

export const startOfLane = (destination: Domain): Buffer => Buffer.from(`${destination}\0`, 'latin1')
export const endOfLane = (destination: Domain): Buffer => Buffer.from(`${destination}\x01`, 'latin1')

const DESTINATION = /^[\x21-\x7e]{1,255}$/

export function requireDestination(destination: Domain): void {
  if (!DESTINATION.test(destination))
    throw new RangeError(`a domain must be 1 to 255 visible ASCII characters, was ${JSON.stringify(destination)}`)
}

/** One key that stays in every table for good: lmdb asserts when the only key of a table is put and removed at once (lmdb-js #212). */
export const SENTINEL = Buffer.from([0xff])

export function requireU48(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0 || value > MAX_U48) {
    throw new RangeError(`${what} must be a whole number from 0 to 2^48 - 1, was ${value}`)
  }
  return value
}

function u48(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(6)
  bytes.writeUIntBE(value, 0, 6)
  return bytes
}
