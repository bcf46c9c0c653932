import { StringDecoder } from 'node:string_decoder'
import type { SmtpReply } from '../domain/smtp-reply.ts'

/**
 * Bytes from a server → replies (RFC 5321 section 4.2). Servers are strangers: what is not a reply ends the session, and no reply
 * may fill memory or carry control characters into logs and reports.
 */

/** A reply with its lines apart, as EHLO needs them; texts are without codes. */
export type WireReply = SmtpReply & { readonly lines: readonly string[] }

/** The peer does not speak SMTP. */
export class NotSmtp extends Error {
  override readonly name = 'NotSmtp'
}

/** RFC 5321 section 4.5.3.1.5 allows 512; real servers write whole help pages into one line. */
const MAX_LINE = 4_096
const MAX_LINES = 200

const LINE = /^(?<code>[2-5][0-9]{2})(?<more>[ -]|$)(?<text>.*)$/
const ENHANCED = /^(?<enhanced>[245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)/
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]+/g

export class ReplyParser {
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''
  #lines: string[] = []
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
    return this.#rest === '' && this.#lines.length === 0
  }

  #take(line: string): WireReply | undefined {
    const groups = LINE.exec(line.slice(0, MAX_LINE).replaceAll(CONTROL, ' '))?.groups
    if (groups === undefined)
      throw new NotSmtp(`a reply line must begin with a code from 200 to 599, was ${JSON.stringify(line.slice(0, 80))}`)
    const code = Number(groups['code'])
    if (this.#lines.length > 0 && code !== this.#code)
      throw new NotSmtp(`all lines of a reply must have one code, had ${this.#code} and ${code}`)
    if (this.#lines.length >= MAX_LINES) throw new NotSmtp(`a reply must have at most ${MAX_LINES} lines`)
    this.#code = code
    this.#lines.push(groups['text'] ?? '')
    if (groups['more'] === '-') return undefined
    const reply = buildReply(code, this.#lines)
    this.#lines = []
    return reply
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
  return { code, ...(enhanced === undefined ? {} : { enhanced }), text, lines }
}
