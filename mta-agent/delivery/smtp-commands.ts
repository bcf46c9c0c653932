import type { Recipient } from '../domain/envelope.ts'
import type { WireReply } from './reply-parser.ts'

/** What the client says, as text; pure. No byte of an address may end a command line early, and no line of content may end the content. */

/** What a server offers (EHLO, RFC 5321 section 4.1.1.1). */
export type Capabilities = {
  readonly pipelining: boolean
  readonly startTls: boolean
  readonly eightBitMime: boolean
  readonly smtpUtf8: boolean
  readonly dsn: boolean
  /** undefined: SIZE is not offered. 0: offered without a limit (RFC 1870). */
  readonly sizeLimit?: number
}

/** After HELO: RFC 821, nothing is offered. */
export const NO_CAPABILITIES: Capabilities = { pipelining: false, startTls: false, eightBitMime: false, smtpUtf8: false, dsn: false }

export function parseCapabilities(ehlo: WireReply): Capabilities {
  const keywords = new Map(
    ehlo.lines.slice(1).map((line) => {
      const [keyword = '', parameter = ''] = line.trim().split(/[ =]+/, 2)
      return [keyword.toUpperCase(), parameter] as const
    }),
  )
  const size = keywords.get('SIZE')
  return {
    pipelining: keywords.has('PIPELINING'),
    startTls: keywords.has('STARTTLS'),
    eightBitMime: keywords.has('8BITMIME'),
    smtpUtf8: keywords.has('SMTPUTF8'),
    dsn: keywords.has('DSN'),
    ...(size === undefined ? {} : { sizeLimit: /^[0-9]{1,15}$/.test(size) ? Number(size) : 0 }),
  }
}

/** What MAIL says of a message. */
export type MailParameters = {
  readonly sender: string
  readonly sizeBytes: number
  readonly eightBit: boolean
  readonly utf8: boolean
  readonly returnContent?: 'FULL' | 'HDRS'
  readonly envelopeId?: string
}

export function formatMail(mail: MailParameters, offered: Capabilities): string {
  const parameters = [
    offered.sizeLimit === undefined ? undefined : `SIZE=${mail.sizeBytes}`,
    mail.eightBit && offered.eightBitMime ? 'BODY=8BITMIME' : undefined,
    mail.utf8 ? 'SMTPUTF8' : undefined,
    offered.dsn && mail.returnContent !== undefined ? `RET=${mail.returnContent}` : undefined,
    offered.dsn && mail.envelopeId !== undefined ? `ENVID=${formatXtext(mail.envelopeId)}` : undefined,
  ].filter((parameter) => parameter !== undefined)
  return `${['MAIL FROM:' + formatPath(mail.sender), ...parameters].join(' ')}\r\n`
}

export function formatRcpt(recipient: Recipient, offered: Capabilities): string {
  const words = [`RCPT TO:${formatPath(recipient.address)}`]
  if (offered.dsn && recipient.notify !== undefined) words.push(`NOTIFY=${recipient.notify.join(',')}`)
  if (offered.dsn && recipient.originalRecipient !== undefined) words.push(`ORCPT=${formatOriginalRecipient(recipient.originalRecipient)}`)
  return `${words.join(' ')}\r\n`
}

/**
 * `rfc822;a+b@example.com` → `rfc822;a+2Bb@example.com` (RFC 3461 section 4.2: the type stands as it is). What is not ASCII is written so
 * that every server takes it: `utf-8;ö@example.com` → `utf-8;\x{F6}@example.com` (RFC 6533 section 3).
 */
function formatOriginalRecipient(decoded: string): string {
  const cut = decoded.indexOf(';')
  const ascii = decoded.slice(cut + 1).replaceAll(/\P{ASCII}/gu, (char) => `\\x{${char.codePointAt(0)?.toString(16).toUpperCase()}}`)
  return `${decoded.slice(0, cut + 1)}${formatXtext(ascii)}`
}

/** RFC 3461 section 4: printable ASCII but for `+` and `=`; every other octet as `+` and two hexadecimal digits. */
export function formatXtext(text: string): string {
  return [...Buffer.from(text, 'utf8')]
    .map((octet) =>
      octet >= 0x21 && octet <= 0x7e && octet !== 0x2b && octet !== 0x3d
        ? String.fromCharCode(octet)
        : `+${octet.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('')
}

/** Submission has parsed the address; a line end that got here all the same would be a second command. */
function formatPath(address: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\u0000-\u001f\u007f<>]/.test(address.replaceAll(/"(?:[^"\\]|\\.)*"/g, (quoted) => quoted.replaceAll(/[<>]/g, '')))) {
    throw new RangeError(`an address must have no control characters and no unquoted angle brackets, was ${JSON.stringify(address)}`)
  }
  return `<${address}>`
}

const CRLF = Buffer.from('\r\n')
const DOT = 0x2e
const LINE_DOT = Buffer.from('\r\n.')

/**
 * The content as it goes over the wire, up to but not with the final `.` line: dots doubled at line starts (RFC 5321 section 4.5.2)
 * and a line end at the end. The same Buffer comes back when there is nothing to change, which is nearly always.
 */
export function stuffDots(content: Buffer): Buffer {
  const starts: number[] = content[0] === DOT ? [0] : []
  for (let at = content.indexOf(LINE_DOT); at !== -1; at = content.indexOf(LINE_DOT, at + 3)) starts.push(at + 2)
  const ends = content.length === 0 || content.subarray(-2).equals(CRLF)
  if (starts.length === 0 && ends) return content
  const stuffed = Buffer.allocUnsafe(content.length + starts.length + (ends ? 0 : 2))
  let from = 0
  let to = 0
  for (const start of starts) {
    to += content.copy(stuffed, to, from, start)
    stuffed[to++] = DOT
    from = start
  }
  to += content.copy(stuffed, to, from)
  if (!ends) CRLF.copy(stuffed, to)
  return stuffed
}

/**
 * Whether the message can only go to a server with SMTPUTF8 (RFC 6531): an address or a header line is not ASCII. Clients say SMTPUTF8
 * in every MAIL they send; taken at their word, ASCII mail would bounce at half the world.
 */
export function needsSmtpUtf8(sender: string, recipients: readonly Recipient[], content: Buffer): boolean {
  if ([sender, ...recipients.map(({ address }) => address)].some((address) => !isAscii(address))) return true
  const end = content.indexOf('\r\n\r\n')
  return content.subarray(0, end === -1 ? content.length : end).some((octet) => octet > 0x7f)
}

const isAscii = (text: string): boolean => !/[\u0080-\uffff]/.test(text)
