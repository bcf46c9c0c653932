import type { SmtpReply } from '../domain/smtp-reply.ts'

/**
 * The report we send about mail that did not arrive, is late, or went where nobody reports (RFC 3461, RFC 3464, RFC 6533). Pure.
 * It must never answer a report, and nothing that a server or a sender wrote may end a header line or a part of it.
 */

export type ReportedRecipient = {
  readonly address: string
  /** ORCPT, decoded: `rfc822;user@example.com`. */
  readonly originalRecipient?: string
  readonly action: 'failed' | 'delayed' | 'relayed'
  /** RFC 3463: `5.1.1`. */
  readonly status: string
  readonly reply: SmtpReply
  /** Who said it; absent when we did. */
  readonly remoteHost?: string
  /** With delayed: when it will be given up. */
  readonly willRetryUntil?: number
}

export type ReportInput = {
  /** Our name: Reporting-MTA, and the domain of MAILER-DAEMON. */
  readonly reportingHost: string
  /** The reverse-path of the message; never empty. */
  readonly sender: string
  /** At least one. */
  readonly recipients: readonly ReportedRecipient[]
  readonly original: {
    /** Absent where it is damaged: the report then has no third part (RFC 3462 section 1). */
    readonly content?: Buffer
    readonly envelopeId?: string
    readonly returnContent?: 'FULL' | 'HDRS'
    /** Milliseconds since the epoch. */
    readonly acceptedAt: number
  }
  readonly at: number
  /** Unguessable, so that no original contains it; letters and digits. */
  readonly boundary: string
  /** Without angle brackets. */
  readonly messageId: string
}

export type Report = { readonly content: Buffer; readonly body: '7BIT' | '8BITMIME'; readonly smtpUtf8: boolean }

/** The whole original goes back only when it was asked for and is at most this large (RFC 3461 section 6.2 leaves that to us). */
const MAX_RETURNED_BYTES = 262_144

export function buildReport(input: ReportInput): Report {
  const international = [input.sender, ...input.recipients.map(({ address }) => address)].some((address) => !isAscii(address))
  const parts = [formatExplanation(input), formatDeliveryStatus(input, international), ...formatOriginal(input, international)]
  const eightBit = parts.some((part) => part.some((octet) => octet > 0x7f))
  const pieces = [
    Buffer.from(formatHeader(input, eightBit ? '8bit' : '7bit')),
    ...parts.flatMap((part) => [Buffer.from(`--${input.boundary}\r\n`), part, CRLF]),
    Buffer.from(`--${input.boundary}--\r\n`),
  ]
  return { content: Buffer.concat(pieces), body: eightBit || international ? '8BITMIME' : '7BIT', smtpUtf8: international }
}

const CRLF = Buffer.from('\r\n')

const SUBJECTS = {
  failed: 'Undelivered mail returned to sender',
  delayed: 'Delayed mail (still being retried)',
  relayed: 'Mail relayed to a host that sends no reports',
} as const

/** The gravest that befell any of them. */
const gravest = ({ recipients }: ReportInput): ReportedRecipient['action'] =>
  (['failed', 'delayed'] as const).find((action) => recipients.some((recipient) => recipient.action === action)) ?? 'relayed'

/** `encoding`: of the whole, which is that of its parts (RFC 2045 section 6.4). */
const formatHeader = (input: ReportInput, encoding: '7bit' | '8bit'): string =>
  lines([
    `From: Mail Delivery System <MAILER-DAEMON@${input.reportingHost}>`,
    `To: <${clean(input.sender)}>`,
    `Subject: ${SUBJECTS[gravest(input)]}`,
    `Date: ${formatDate(input.at)}`,
    `Message-ID: <${input.messageId}>`,
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status;',
    ` boundary="${input.boundary}"`,
    ...(encoding === '8bit' ? ['Content-Transfer-Encoding: 8bit'] : []),
    '',
  ])

const EXPLANATIONS = {
  failed: 'Your message could not be delivered to these recipients, and no further attempt will be made:',
  delayed: 'Your message has not been delivered to these recipients yet. It will be attempted again; you need not send it again:',
  relayed: 'Your message was passed on for these recipients to a host that will not report what becomes of it:',
} as const

function formatExplanation(input: ReportInput): Buffer {
  const told = (['failed', 'delayed', 'relayed'] as const).flatMap((action) => {
    const recipients = input.recipients.filter((recipient) => recipient.action === action)
    if (recipients.length === 0) return []
    return [EXPLANATIONS[action], '', ...recipients.flatMap(explain), '']
  })
  return Buffer.from(
    lines([
      'Content-Type: text/plain; charset=utf-8',
      'Content-Transfer-Encoding: 8bit',
      '',
      `This is the mail system at ${input.reportingHost}.`,
      '',
      ...told,
      ...(input.original.content === undefined ? ['The message itself cannot be returned: it was damaged where it lay.', ''] : []),
    ]),
  )
}

function explain({ address, reply, remoteHost }: ReportedRecipient): string[] {
  const said = remoteHost === undefined ? '' : `${remoteHost} said: `
  return [`  <${clean(address)}>`, ...wrap(`${said}${formatReply(reply)}`).map((line) => `    ${line}`)]
}

function formatDeliveryStatus(input: ReportInput, international: boolean): Buffer {
  const { original, at } = input
  const perMessage = [
    `Reporting-MTA: dns; ${input.reportingHost}`,
    original.envelopeId === undefined ? undefined : `Original-Envelope-Id: ${field(original.envelopeId, international)}`,
    `Arrival-Date: ${formatDate(original.acceptedAt)}`,
  ]
  const perRecipient = input.recipients.flatMap((recipient) => ['', ...formatRecipient(recipient, at, international)])
  return Buffer.from(
    lines([
      `Content-Type: message/${international ? 'global-' : ''}delivery-status`,
      ...(international ? ['Content-Transfer-Encoding: 8bit'] : []),
      '',
      ...[...perMessage, ...perRecipient].filter((line) => line !== undefined),
    ]),
  )
}

function formatRecipient(recipient: ReportedRecipient, at: number, international: boolean): string[] {
  const { address, originalRecipient, action, status, reply, remoteHost, willRetryUntil } = recipient
  const type = isAscii(address) ? 'rfc822' : 'utf-8'
  const diagnostic = remoteHost === undefined ? `x-mtafleet; ${formatReply(reply)}` : `smtp; ${formatReply(reply)}`
  return [
    originalRecipient === undefined ? undefined : `Original-Recipient: ${field(originalRecipient.replace(';', '; '), international)}`,
    `Final-Recipient: ${type}; ${field(address, international)}`,
    `Action: ${action}`,
    `Status: ${status}`,
    remoteHost === undefined ? undefined : `Remote-MTA: dns; ${field(remoteHost, international)}`,
    `Diagnostic-Code: ${wrap(field(diagnostic, international)).join('\r\n ')}`,
    `Last-Attempt-Date: ${formatDate(at)}`,
    willRetryUntil === undefined ? undefined : `Will-Retry-Until: ${formatDate(willRetryUntil)}`,
  ].filter((line) => line !== undefined)
}

function formatOriginal({ original }: ReportInput, international: boolean): Buffer[] {
  const { content, returnContent } = original
  if (content === undefined) return []
  const full = returnContent === 'FULL' && content.length <= MAX_RETURNED_BYTES
  const end = content.indexOf('\r\n\r\n')
  const returned = full ? content : content.subarray(0, end === -1 ? content.length : end + 2)
  const type = international ? (full ? 'message/global' : 'message/global-headers') : full ? 'message/rfc822' : 'text/rfc822-headers'
  const eightBit = returned.some((octet) => octet > 0x7f)
  const part = Buffer.concat([
    Buffer.from(lines([`Content-Type: ${type}`, ...(eightBit ? ['Content-Transfer-Encoding: 8bit'] : []), ''])),
    returned,
    ...(returned.subarray(-2).equals(CRLF) ? [] : [CRLF]),
  ])
  return [part]
}

/** Whether a report may be sent about a message at all. */
export type ReportVerdict = { readonly kind: 'report' } | { readonly kind: 'silent'; readonly because: SilentReason }
export type SilentReason = 'NullSender' | 'MailerDaemon' | 'Reply' | 'Report' | 'Suppressed'

/**
 * A report about a report would go in circles (RFC 5321 section 4.5.4). Mail that is merely `Auto-Submitted: auto-generated` does get
 * reports: that is what receipts and alarms are, and their senders live on bounces. Without `content` (it is damaged) the sender decides:
 * the report itself has the null sender, so that nothing can go in circles.
 */
export function judgeReport(sender: string, content: Buffer | undefined): ReportVerdict {
  if (sender === '') return silent('NullSender')
  if (/^mailer-daemon@/i.test(sender)) return silent('MailerDaemon')
  if (content === undefined) return { kind: 'report' }
  const rules: readonly (readonly [RegExp, SilentReason])[] = [
    [/^auto-submitted:\s*auto-replied\b/im, 'Reply'],
    [/^content-type:\s*multipart\/report\b/im, 'Report'],
    [/^from:.*\bmailer-daemon@/im, 'MailerDaemon'],
    [/^x-auto-response-suppress:.*\b(all|ndr)\b/im, 'Suppressed'],
  ]
  const end = content.indexOf('\r\n\r\n')
  const header = content.toString('latin1', 0, end === -1 ? content.length : end).replaceAll(/\r\n[ \t]+/g, ' ')
  const rule = rules.find(([pattern]) => pattern.test(header))
  return rule === undefined ? { kind: 'report' } : silent(rule[1])
}

const silent = (because: SilentReason): ReportVerdict => ({ kind: 'silent', because })

const lines = (all: readonly string[]): string => all.map((line) => `${line}\r\n`).join('')

const formatReply = ({ code, enhanced, text }: SmtpReply): string => `${code} ${enhanced === undefined ? '' : `${enhanced} `}${text}`

/** Without line ends and other control characters: one field is one line until we fold it. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const clean = (text: string): string => text.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ')

/** RFC 3464 fields are ASCII; only the international form (RFC 6533) may have more. */
const field = (text: string, international: boolean): string =>
  international ? clean(text) : clean(text).replaceAll(/[\u0080-\uffff]/g, '?')

const isAscii = (text: string): boolean => !/[\u0080-\uffff]/.test(text)

/** Lines of at most 72 octets, but for words that are longer; those are cut, so that no line comes near 998 octets (RFC 5322 section 2.1.1). */
function wrap(text: string): string[] {
  const wrapped: string[] = []
  let line = ''
  for (const word of clean(text).split(' ').flatMap(cutLong)) {
    if (line !== '' && Buffer.byteLength(line) + Buffer.byteLength(word) >= 72) {
      wrapped.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...wrapped, line]
}

/** Pieces of at most 500 octets, 125 characters of the longest. */
const cutLong = (word: string): readonly string[] => word.match(Buffer.byteLength(word) <= 500 ? /.+/gsu : /.{1,125}/gsu) ?? []

/** RFC 5322 section 3.3, in UTC. */
const formatDate = (millis: number): string => new Date(millis).toUTCString().replace('GMT', '+0000')
