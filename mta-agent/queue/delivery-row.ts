import type { Recipient } from '../domain/envelope.ts'
import type { Millis } from './queue-store.ts'
import { seal, unseal } from './record.ts'

/**
 * What is still to be done at one destination of a message: everything a Delivery says that its key does not. It repeats the recipients,
 * so that taking a delivery of a message with thousands reads only its own.
 */
export type DeliveryRow = {
  readonly dueAt: Millis
  readonly attempts: number
  readonly acceptedAt: Millis
  readonly sizeBytes: number
  readonly recipients: readonly (Recipient & { readonly index: number })[]
}

const FIXED_BYTES = 24

export function encodeDeliveryRow(row: DeliveryRow): Buffer {
  const fixed = Buffer.allocUnsafe(FIXED_BYTES)
  fixed.writeUInt32BE(row.attempts, 0)
  fixed.writeUInt32BE(row.recipients.length, 4)
  fixed.writeUIntBE(row.acceptedAt, 8, 6)
  fixed.writeUInt32BE(row.sizeBytes, 14)
  fixed.writeUIntBE(row.dueAt, 18, 6)
  return seal('delivery', fixed, Buffer.from(JSON.stringify(row.recipients)))
}

export function decodeDeliveryRow(record: Buffer, where: string): DeliveryRow {
  const payload = unseal('delivery', record, where)
  return {
    attempts: payload.readUInt32BE(0),
    acceptedAt: payload.readUIntBE(8, 6),
    sizeBytes: payload.readUInt32BE(14),
    dueAt: payload.readUIntBE(18, 6),
    recipients: JSON.parse(payload.toString('utf8', FIXED_BYTES)) as DeliveryRow['recipients'],
  }
}

/** What counting needs, without parsing the recipients: a restart looks at every row. The checksum is checked all the same. */
export function countDeliveryRow(record: Buffer, where: string): { readonly recipients: number; readonly deferred: number } {
  const payload = unseal('delivery', record, where)
  const recipients = payload.readUInt32BE(4)
  return { recipients, deferred: payload.readUInt32BE(0) > 0 ? recipients : 0 }
}
