import { StringDecoder } from 'node:string_decoder'
import type { SmtpReply } from '../domain/smtp-reply.ts'

/**
 * Bytes from a server → replies (RFC 5321 section 4.2). Servers are strangers: what is not a reply ends the session, and no reply
 * may fill memory or carry control characters into logs and reports.
 */

/** A reply with its lines apart, as EHLO needs them; texts are without codes. Of its lines the first 4,096 characters are kept. */
export type WireReply = SmtpReply & { readonly lines: readonly string[] }

/** The peer does not speak SMTP. */
export class NotSmtp extends Error {
  override readonly name = 'NotSmtp'
}

/** RFC 5321 section 4.5.3.1.5 allows 512; real servers write whole help pages into one line. */
const MAX_LINE = 4_096
const MAX_LINES = 200
/** Of all lines of a reply. EHLO of the longest-winded servers has a quarter of it; replies wait by the hundred where commands were pipelined. */
const KEPT_CHARACTERS = 4_096
/** Of the text of a reply: it is stored for each recipient, in the log and in the report. */
const MAX_TEXT = 1_000

const LINE = /^(?<code>[2-5][0-9]{2})(?<more>[ -]|$)(?<text>.*)$/
const ENHANCED = /^(?<enhanced>[245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)/
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]+/g

export class ReplyParser {
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''
  #lines: string[] = []
  #count = 0
  #room = KEPT_CHARACTERS
  #code = 0

  /** Replies completed by these bytes. Throws NotSmtp; the parser is of no use after that. */
  feed(bytes: Buffer): WireReply[] {
    const text = this.#rest + this.#decoder.write(bytes)
    const lines = text.split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > MAX_LINE) throw new NotSmtp(`a reply line must be at most ${MAX_LINE} characters long`)
    return lines.flatMap((line) => this.#take(line.endsWith('\r') ? line.slice(0, -1) : line) ?? [])
  }

  /** True between replies: nothing of the next one has arrived. */
  isBetweenReplies(): boolean {
    return this.#rest === '' && this.#count === 0
  }

  #take(line: string): WireReply | undefined {
    const groups = LINE.exec(line.slice(0, MAX_LINE).replaceAll(CONTROL, ' '))?.groups
    if (groups === undefined)
      throw new NotSmtp(`a reply line must begin with a code from 200 to 599, was ${JSON.stringify(line.slice(0, 80))}`)
    const code = Number(groups['code'])
    if (this.#count > 0 && code !== this.#code) throw new NotSmtp(`all lines of a reply must have one code, had ${this.#code} and ${code}`)
    if (this.#count >= MAX_LINES) throw new NotSmtp(`a reply must have at most ${MAX_LINES} lines`)
    this.#code = code
    this.#count += 1
    this.#keep(groups['text'] ?? '')
    if (groups['more'] === '-') return undefined
    const reply = buildReply(code, this.#lines)
    this.#lines = []
    this.#count = 0
    this.#room = KEPT_CHARACTERS
    return reply
  }

  /** Half a line could be taken for another word of EHLO: a line that has no room is left out, but for the first. */
  #keep(text: string): void {
    if (this.#count > 1 && text.length > this.#room) this.#room = 0
    if (this.#room === 0) return
    this.#lines.push(text)
    this.#room = Math.max(0, this.#room - text.length)
  }
}

/** The enhanced code counts only when its class is the code's (RFC 2034 section 4); servers repeat it on every line. */
function buildReply(code: number, raw: readonly string[]): WireReply {
  const first = ENHANCED.exec(raw[0] ?? '')?.groups?.['enhanced']
  const enhanced = first !== undefined && Number(first[0]) === Math.trunc(code / 100) ? first : undefined
  const lines =
    enhanced === undefined ? raw : raw.map((line) => (line.startsWith(enhanced) ? line.slice(enhanced.length).trimStart() : line))
  const text = lines
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ')
    .slice(0, MAX_TEXT)
    .toWellFormed()
  return { code, ...(enhanced === undefined ? {} : { enhanced }), text, lines }
}
