import type { Domain } from '../../domain/envelope.ts'
import { parseQueueId, type QueueId } from '../../domain/queue-id.ts'
import type { CopiedContent, CopiedMessage, OfferedMessage } from '../../queue/log-queue.ts'
import { LinkFault } from './frames.ts'

/**
 * Messages of a full copy, and those that were set aside, as bytes: pieces with their length in front (4 bytes), in the order in which they are read. Records, rows and
 * contents have checksums, which the store checks.
 */

/** Count; for each message: queue id, record, count of deliveries, and for each of those destination and row. */
export function encodeNamed(messages: readonly CopiedMessage[]): readonly Uint8Array[] {
  return [
    number(messages.length),
    ...messages.flatMap(({ queueId, record, deliveries }) => [
      ...piece(Buffer.from(queueId)),
      ...piece(record),
      number(deliveries.length),
      ...deliveries.flatMap(({ destination, row }) => [...piece(Buffer.from(destination)), ...piece(row)]),
    ]),
  ]
}

/** Throws LinkFault. */
export function decodeNamed(payload: Buffer): readonly CopiedMessage[] {
  const reader = new PieceReader(payload, 'named messages')
  const messages = reader.list(() => ({
    queueId: parseId(reader.text()),
    record: reader.piece(),
    deliveries: reader.list(() => ({ destination: reader.text() as Domain, row: reader.piece() })),
  }))
  reader.end()
  return messages
}

/** Count; for each: queue id, 1 or 0 for whether there is a content, and the content. */
export function encodeContents(contents: readonly CopiedContent[]): readonly Uint8Array[] {
  return [
    number(contents.length),
    ...contents.flatMap(({ queueId, content }) => [
      ...piece(Buffer.from(queueId)),
      number(content ? 1 : 0),
      ...(content ? piece(content) : []),
    ]),
  ]
}

/** Throws LinkFault. */
export function decodeContents(payload: Buffer): readonly CopiedContent[] {
  const reader = new PieceReader(payload, 'contents')
  const contents = reader.list(() => ({ queueId: parseId(reader.text()), content: reader.number() === 0 ? undefined : reader.piece() }))
  reader.end()
  return contents
}

export type Offer = { readonly from: number; readonly message: OfferedMessage }

/** From 6; queue id, record, content. */
export function encodeOffer({ from, message }: Offer): readonly Uint8Array[] {
  const head = Buffer.allocUnsafe(6)
  head.writeUIntBE(from, 0, 6)
  return [head, ...piece(Buffer.from(message.queueId)), ...piece(message.record), ...piece(message.content)]
}

/** Throws LinkFault. */
export function decodeOffer(payload: Buffer): Offer {
  if (payload.length < 6) throw new LinkFault(`an offer must be of more than 6 bytes, was of ${payload.length}`)
  const reader = new PieceReader(payload.subarray(6), 'an offer')
  const message = { queueId: parseId(reader.text()), record: reader.piece(), content: reader.piece() }
  reader.end()
  return { from: payload.readUIntBE(0, 6), message }
}

export function parseId(text: string): QueueId {
  try {
    parseQueueId(text as QueueId)
  } catch (error) {
    throw new LinkFault(`a message must be named by its queue id, was by ${JSON.stringify(text)}`, { cause: error })
  }
  return text as QueueId
}

function number(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value, 0)
  return bytes
}

const piece = (bytes: Uint8Array): readonly Uint8Array[] => [number(bytes.length), bytes]

class PieceReader {
  readonly #payload: Buffer
  readonly #what: string
  #at = 0

  constructor(payload: Buffer, what: string) {
    this.#payload = payload
    this.#what = what
  }

  number(): number {
    if (this.#at + 4 > this.#payload.length) throw this.#tooShort()
    this.#at += 4
    return this.#payload.readUInt32BE(this.#at - 4)
  }

  piece(): Buffer {
    const length = this.number()
    if (this.#at + length > this.#payload.length) throw this.#tooShort()
    this.#at += length
    return this.#payload.subarray(this.#at - length, this.#at)
  }

  text(): string {
    return this.piece().toString('latin1')
  }

  list<T>(read: () => T): readonly T[] {
    const count = this.number()
    const items: T[] = []
    for (let nth = 0; nth < count; nth++) items.push(read())
    return items
  }

  end(): void {
    if (this.#at !== this.#payload.length) {
      throw new LinkFault(`${this.#what} must be of ${this.#at} bytes, were of ${this.#payload.length}`)
    }
  }

  #tooShort(): LinkFault {
    return new LinkFault(`${this.#what} must be of more than ${this.#at} bytes, were of ${this.#payload.length}`)
  }
}
