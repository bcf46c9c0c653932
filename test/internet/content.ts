import { createHash } from 'node:crypto'

/** The message between DATA and the final dot: finding its end, taking the stuffed dots out, and what is written down about it. Pure but for its buffer. */

export type ContentFacts = {
  readonly messageId: string | null
  readonly size: number
  readonly contentHash: string
  readonly bodyHash: string
  /** TLS of the hop before, as the topmost Received field tells it. */
  readonly relayTls: { readonly version: string; readonly cipher: string } | null
}

const END = Buffer.from('\r\n.\r\n')
const CRLF_DOT = Buffer.from('\r\n.')
const EMPTY_LINE = Buffer.from('\r\n\r\n')
const EMPTY = Buffer.alloc(0)

/**
 * Collects the content of one message. Ends only at CRLF.CRLF: LF.LF and the like are content (RFC 5321 section 4.1.1.4).
 * Never holds more than `limit` bytes: what is over is counted and dropped, and the message is then too big.
 */
export class ContentReader {
  readonly #limit: number
  #chunks: Buffer[] = []
  #kept = 0
  #received = 0
  /** The last bytes seen, where the end mark may have begun. Starts as if a line had just ended, for a message that is only a dot. */
  #tail = Buffer.from('\r\n')

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Bytes received so far, the end mark not counted once it was found. */
  get received(): number {
    return this.#received
  }

  /** Takes a chunk; answers with what follows the end mark, or undefined when the end was not in it. */
  push(chunk: Buffer): Buffer | undefined {
    const overlap = this.#tail.length
    const joined = Buffer.concat([this.#tail, chunk.subarray(0, END.length)])
    const inJoint = joined.indexOf(END)
    // Position in `chunk` of the byte after the end mark.
    const after = inJoint >= 0 ? inJoint + END.length - overlap : afterMark(chunk)
    if (after === undefined) {
      this.#keep(chunk)
      this.#tail = Buffer.from(lastBytes(this.#tail, chunk))
      return undefined
    }
    this.#keep(chunk.subarray(0, after))
    return chunk.subarray(after)
  }

  /** The message without its end mark and without stuffed dots, or `tooBig`. */
  finish(): Buffer | 'tooBig' {
    if (this.#received - 3 > this.#limit) return 'tooBig'
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    this.#chunks = []
    return unstuff(all.subarray(0, all.length - 3))
  }

  #keep(chunk: Buffer): void {
    this.#received += chunk.length
    if (this.#kept + chunk.length > this.#limit + END.length) return
    this.#kept += chunk.length
    this.#chunks.push(chunk)
  }
}

function afterMark(chunk: Buffer): number | undefined {
  const at = chunk.indexOf(END)
  return at < 0 ? undefined : at + END.length
}

function lastBytes(before: Buffer, chunk: Buffer): Buffer {
  const wanted = END.length - 1
  return chunk.length >= wanted ? chunk.subarray(chunk.length - wanted) : Buffer.concat([before, chunk]).subarray(-wanted)
}

/** Takes out the dot that the client put before every line that began with one (RFC 5321 section 4.5.2). */
export function unstuff(content: Buffer): Buffer {
  const first = content[0] === 0x2e ? content.subarray(1) : content
  let from = 0
  let at = first.indexOf(CRLF_DOT)
  if (at < 0) return first
  const parts: Buffer[] = []
  while (at >= 0) {
    parts.push(first.subarray(from, at + 2))
    from = at + 3
    at = first.indexOf(CRLF_DOT, from)
  }
  parts.push(first.subarray(from))
  return Buffer.concat(parts)
}

/** What is written down about a message (already unstuffed). */
export function readContent(content: Buffer): ContentFacts {
  const { header, body } = splitContent(content)
  return {
    messageId: findMessageId(header),
    size: content.length,
    contentHash: sha256(content),
    bodyHash: sha256(body),
    relayTls: findRelayTls(header),
  }
}

/** Header block and what follows the first empty line. A message that starts with an empty line has no header. */
export function splitContent(content: Buffer): { readonly header: Buffer; readonly body: Buffer } {
  if (content[0] === 0x0d && content[1] === 0x0a) return { header: EMPTY, body: content.subarray(2) }
  const at = content.indexOf(EMPTY_LINE)
  return at < 0 ? { header: content, body: EMPTY } : { header: content.subarray(0, at + 2), body: content.subarray(at + 4) }
}

function findMessageId(header: Buffer): string | null {
  const found = /^message-id:[ \t]*(?:\r\n[ \t]+)?(<[^>\r\n]*>)/im.exec(header.toString('latin1'))
  return found?.[1] ?? null
}

/** Postfix writes `(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) …` into its Received field. */
function findRelayTls(header: Buffer): ContentFacts['relayTls'] {
  const received = /^received:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*/im.exec(header.toString('latin1'))
  const found = received === null ? null : /\(using (\S+) with cipher (\S+)/.exec(received[0])
  return found === null ? null : { version: found[1]!, cipher: found[2]! }
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
