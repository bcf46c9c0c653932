import { crc32 } from 'node:zlib'
import type { Envelope } from '../domain/envelope.ts'
import { requireDestination, requireU48 } from './keys.ts'
import type { Millis, NewMessage } from './queue-store.ts'
import { seal, unseal } from './record.ts'

/** What is kept of a message beside its content, which lies elsewhere, once, exactly as it will be sent. */
export type MessageRecord = {
  readonly acceptedAt: Millis
  readonly sizeBytes: number
  readonly contentChecksum: number
  readonly envelope: Envelope
}

const FIXED_BYTES = 14
const MAX_CONTENT_BYTES = 2 ** 31 - 1

/** Throws RangeError where the message cannot be stored, before anything is written. */
export function describeMessage(message: NewMessage): MessageRecord {
  requireU48(message.acceptedAt, 'acceptedAt')
  if (message.envelope.recipients.length === 0) throw new RangeError('a message must have at least one recipient, had none')
  for (const { domain } of message.envelope.recipients) requireDestination(domain)
  if (message.content.length > MAX_CONTENT_BYTES)
    throw new RangeError(`a message must be smaller than 2 GiB, was ${message.content.length} bytes`)
  return {
    acceptedAt: message.acceptedAt,
    sizeBytes: message.content.length,
    contentChecksum: crc32(message.content),
    envelope: message.envelope,
  }
}

export function encodeMessagePart(message: MessageRecord): Buffer {
  const envelope = JSON.stringify(message.envelope)
  const part = Buffer.allocUnsafe(FIXED_BYTES + Buffer.byteLength(envelope))
  part.writeUIntBE(message.acceptedAt, 0, 6)
  part.writeUInt32BE(message.sizeBytes, 6)
  part.writeUInt32BE(message.contentChecksum, 10)
  part.write(envelope, FIXED_BYTES)
  return part
}

export const decodeMessagePart = (part: Buffer): MessageRecord => ({
  acceptedAt: part.readUIntBE(0, 6),
  sizeBytes: part.readUInt32BE(6),
  contentChecksum: part.readUInt32BE(10),
  envelope: JSON.parse(part.toString('utf8', FIXED_BYTES)) as Envelope,
})

/** What the content must be, without the envelope. */
export const decodeContentFacts = (part: Buffer): Pick<MessageRecord, 'sizeBytes' | 'contentChecksum'> => ({
  sizeBytes: part.readUInt32BE(6),
  contentChecksum: part.readUInt32BE(10),
})

export const sealPart = (part: Buffer): Buffer => seal('message', part)
export const encodeMessage = (message: MessageRecord): Buffer => sealPart(encodeMessagePart(message))
export const decodeMessage = (record: Buffer, where: string): MessageRecord => decodeMessagePart(unseal('message', record, where))
