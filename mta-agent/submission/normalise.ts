import type { SmtpReply } from '../domain/smtp-reply.ts'

/**
 * What we check in a message and add to it. The content is never rewritten: it is refused or taken as it is, with our lines in front.
 *
 * Line ends: a CR or LF that is not part of CRLF is refused (RFC 5321 section 2.3.8). smtp-server ends DATA at CRLF.CRLF only, so such bytes
 * cannot smuggle a command into us; but other servers end DATA at LF.LF or CR.CR too, and mail that we passed on could then carry a second
 * message into them under our name. Rewriting to CRLF would close that hole and break every signature made by the client: so we refuse, and
 * the client, who alone can do it right, hears of it. The same for NUL and for lines over 998 octets (RFC 5322 section 2.1.1), which other
 * servers cut or break.
 */

export type IntakeLimits = { readonly maxMessageBytes: number }

/** What our Received line says (RFC 5321 section 4.4). */
export type Trace = {
  readonly hostName: string
  readonly clientName: string
  readonly clientAddress: string
  /** SMTP, ESMTP, ESMTPS, ESMTPSA … (RFC 3848). */
  readonly protocol: string
  /** Names the transaction in our log; the queue id is not known before the message is stored. */
  readonly transaction: string
  /** The recipient, when there is only one: others must not learn of each other. */
  readonly onlyRecipient?: string
  readonly now: number
  /** For a Message-ID, when there is none. */
  readonly randomId: string
}

export type Intake = {
  readonly content: Buffer
  /** The content has octets above 127, whatever the client declared. */
  readonly eightBit: boolean
  /** The header has some: it needs SMTPUTF8 at the next hop too. */
  readonly eightBitHeader: boolean
}

const MAX_LINE = 998
export const MAX_HEADER_BYTES = 262_144
/** RFC 5321 section 6.3 asks for a large threshold; 50 is what Postfix uses. */
export const MAX_HOPS = 50

const CR = 13
const LF = 10

/** Takes a message chunk by chunk. After a refusal it keeps nothing more, so that the rest costs no memory. */
export class MessageIntake {
  readonly #limits: IntakeLimits
  #chunks: Buffer[] = []
  #bytes = 0
  #lineLength = 0
  #afterCr = false
  #eightBit = false
  #eightBitHeader = false
  #headerBytes: number | undefined
  #refusal: SmtpReply | undefined

  constructor(limits: IntakeLimits) {
    this.#limits = limits
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes
  }

  get refusal(): SmtpReply | undefined {
    return this.#refusal
  }

  refuse(reply: SmtpReply): void {
    this.#refusal ??= reply
    this.#chunks = []
    this.#bytes = 0
  }

  push(chunk: Buffer): void {
    if (this.#refusal !== undefined) return
    if (this.#bytes + chunk.length > this.#limits.maxMessageBytes) {
      return this.refuse({ code: 552, enhanced: '5.3.4', text: `message must have at most ${this.#limits.maxMessageBytes} bytes` })
    }
    const refusal = this.#scan(chunk)
    if (refusal !== undefined) return this.refuse(refusal)
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
  }

  /** The message with our lines in front, in one buffer of its own; or why it is refused. */
  finish(trace: Trace): Intake | SmtpReply {
    if (this.#refusal !== undefined) return this.#refusal
    if (this.#afterCr || this.#lineLength > 0) return bare('the last line must end with CRLF')
    const fields = readHeader(this.#header())
    if (fields.hops >= MAX_HOPS)
      return { code: 554, enhanced: '5.4.6', text: `too many hops: must be fewer than ${MAX_HOPS}, was ${fields.hops}` }
    const added = Buffer.from(formatAddedLines(trace, fields), 'utf8')
    const content = Buffer.concat([added, ...this.#chunks], added.length + this.#bytes)
    this.#chunks = []
    // Without an empty line all of it is header.
    const eightBitHeader = this.#headerBytes === undefined ? this.#eightBit : this.#eightBitHeader
    return { content, eightBit: this.#eightBit, eightBitHeader }
  }

  /** One pass over the bytes; everything carries over to the next chunk. */
  #scan(chunk: Buffer): SmtpReply | undefined {
    let lineLength = this.#lineLength
    let afterCr = this.#afterCr
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i] as number
      if (afterCr !== (byte === LF)) return bare(afterCr ? 'bare CR in the message' : 'bare LF in the message')
      if (afterCr) {
        if (lineLength === 0) this.#endHeader(this.#bytes + i + 1)
        afterCr = false
        lineLength = 0
      } else if (byte === CR) afterCr = true
      else if (byte === 0) return bare('NUL in the message')
      else {
        if (byte > 127) this.#eightBit = true
        if (++lineLength > MAX_LINE) return TOO_LONG_LINE
      }
    }
    this.#lineLength = lineLength
    this.#afterCr = afterCr
    return (this.#headerBytes ?? this.#bytes + chunk.length) > MAX_HEADER_BYTES ? TOO_MUCH_HEADER : undefined
  }

  /** Only the chunks that it is in are copied. */
  #header(): string {
    const length = this.#headerBytes ?? this.#bytes
    const parts: Buffer[] = []
    let seen = 0
    for (const chunk of this.#chunks) {
      if (seen >= length) break
      parts.push(chunk.subarray(0, length - seen))
      seen += chunk.length
    }
    return Buffer.concat(parts).toString('latin1')
  }

  #endHeader(at: number): void {
    if (this.#headerBytes !== undefined) return
    this.#headerBytes = at
    // Only header octets have been seen so far.
    this.#eightBitHeader = this.#eightBit
  }
}

const TOO_LONG_LINE: SmtpReply = { code: 550, enhanced: '5.6.0', text: `lines must have at most ${MAX_LINE} octets before CRLF` }
const TOO_MUCH_HEADER: SmtpReply = { code: 552, enhanced: '5.3.4', text: `header must have at most ${MAX_HEADER_BYTES} bytes` }
const bare = (text: string): SmtpReply => ({
  code: 550,
  enhanced: '5.6.11',
  text: `${text}; lines must end with CRLF (RFC 5321 section 2.3.8)`,
})

type HeaderFacts = { readonly hops: number; readonly date: boolean; readonly messageId: boolean; readonly startsWithField: boolean }

const FIELD = /^([\x21-\x39\x3b-\x7e]+)[ \t]*:/

/** The header ends at the first empty line, or before the first line that is neither a field nor its continuation. */
function readHeader(text: string): HeaderFacts {
  let hops = 0
  let date = false
  let messageId = false
  let fields = 0
  for (const line of text.split('\r\n')) {
    if (/^[ \t]/.test(line) && fields > 0) continue
    const name = FIELD.exec(line)?.[1]?.toLowerCase()
    if (name === undefined) break
    fields++
    if (name === 'received') hops++
    else if (name === 'date') date = true
    else if (name === 'message-id') messageId = true
  }
  return { hops, date, messageId, startsWithField: fields > 0 || text.startsWith('\r\n') }
}

function formatAddedLines(trace: Trace, fields: HeaderFacts): string {
  const date = formatDate(trace.now)
  const lines = [
    `Received: from ${formatClient(trace)}`,
    `\tby ${trace.hostName} with ${trace.protocol} id ${trace.transaction}${trace.onlyRecipient === undefined ? ';' : ''}`,
    ...(trace.onlyRecipient === undefined ? [] : [`\tfor <${trace.onlyRecipient}>;`]),
    `\t${date}`,
    // RFC 6409 section 8: a submission server may add what is missing.
    ...(fields.date ? [] : [`Date: ${date}`]),
    ...(fields.messageId ? [] : [`Message-ID: <${trace.randomId}@${trace.hostName}>`]),
    // Text without any header is a body: the empty line in front of it keeps it from being taken for a broken field.
    ...(fields.startsWithField ? [] : ['']),
  ]
  return `${lines.join('\r\n')}\r\n`
}

/** The name said in EHLO is the client's word, so it is written only when it looks like a name; the address is what we know. */
function formatClient(trace: Trace): string {
  const literal = trace.clientAddress.includes(':') ? `[IPv6:${trace.clientAddress}]` : `[${trace.clientAddress}]`
  return /^[A-Za-z0-9._-]{1,255}$/.test(trace.clientName) ? `${trace.clientName} (${literal})` : `${literal} (${literal})`
}

/** RFC 5322 date-time, in UTC. */
export const formatDate = (millis: number): string => new Date(millis).toUTCString().replace('GMT', '+0000')
