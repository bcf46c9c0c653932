import type { Duplex } from 'node:stream'

/**
 * How messages lie on the wire: length of what follows (4 bytes), type (1), epoch (4), payload; numbers big-endian. What must never happen:
 * half a frame taken for one, or memory that a peer chooses.
 */
export type Frame = { readonly type: number; readonly epoch: number; readonly payload: Buffer }

/** The other side, or this one, does not keep to the protocol. The link ends; the next one begins afresh. */
export class LinkFault extends Error {
  override readonly name = 'LinkFault'
}

const LENGTH_BYTES = 4
const HEAD_BYTES = 5

/** The parts are written as they are, without a copy, and must not change until they are sent. */
export function writeFrame(link: Duplex, { type, epoch, parts }: { type: number; epoch: number; parts: readonly Uint8Array[] }): void {
  const head = Buffer.allocUnsafe(LENGTH_BYTES + HEAD_BYTES)
  head.writeUInt32BE(HEAD_BYTES + parts.reduce((sum, part) => sum + part.length, 0), 0)
  head.writeUInt8(type, 4)
  head.writeUInt32BE(epoch, 5)
  link.cork()
  link.write(head)
  for (const part of parts) link.write(part)
  link.uncork()
}

/** Resolves when the link would take more; at once where it does. Rejects when it ends. */
export async function drained(link: Duplex): Promise<void> {
  // One that is closed already says nothing more.
  if (link.destroyed) throw new LinkFault('the link must take more, was closed')
  if (!link.writableNeedDrain) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const closed = (): void => reject(new LinkFault('the link must take more, was closed'))
  link.once('drain', resolve)
  link.once('close', closed)
  try {
    await promise
  } finally {
    link.off('drain', resolve)
    link.off('close', closed)
  }
}

/** Ends where the other side ended between two frames. Throws LinkFault for a frame beyond `limit` bytes and for half a one. */
export async function* readFrames(link: Duplex, limit: number): AsyncGenerator<Frame, void, void> {
  const bytes = new Collected()
  for await (const chunk of link as AsyncIterable<Buffer>) {
    bytes.push(chunk)
    for (let length = bytes.peekLength(); length !== undefined; length = bytes.peekLength()) {
      if (length < HEAD_BYTES || length > limit) {
        throw new LinkFault(`a frame must be of ${HEAD_BYTES} to ${limit} bytes, was of ${length}`)
      }
      if (bytes.size < LENGTH_BYTES + length) break
      const frame = bytes.take(LENGTH_BYTES + length)
      yield {
        type: frame.readUInt8(LENGTH_BYTES),
        epoch: frame.readUInt32BE(LENGTH_BYTES + 1),
        payload: frame.subarray(LENGTH_BYTES + HEAD_BYTES),
      }
    }
  }
  if (bytes.size > 0) throw new LinkFault(`the link must end with a whole frame, was ended within one after ${bytes.size} bytes`)
}

/** Chunks as they came; put together only when a frame is whole, so that a large one is copied once. */
class Collected {
  size = 0
  #chunks: Buffer[] = []

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.size += chunk.length
  }

  peekLength(): number | undefined {
    if (this.size < LENGTH_BYTES) return undefined
    if (this.#chunks[0]!.length < LENGTH_BYTES) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!.readUInt32BE(0)
  }

  take(count: number): Buffer {
    const taken: Buffer[] = []
    let missing = count
    let used = 0
    while (missing > 0) {
      const chunk = this.#chunks[used]!
      const piece = chunk.length > missing ? chunk.subarray(0, missing) : chunk
      taken.push(piece)
      missing -= piece.length
      if (piece.length === chunk.length) used++
      else this.#chunks[used] = chunk.subarray(piece.length)
    }
    this.#chunks.splice(0, used)
    this.size -= count
    return taken.length === 1 ? taken[0]! : Buffer.concat(taken, count)
  }
}
