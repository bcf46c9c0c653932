import type { Recipient } from '../domain/envelope.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'
import { parseMailbox, splitPath, type PathFault } from './parse-path.ts'

/**
 * MAIL and RCPT with their parameters (RFC 5321 section 4.1.1.11, 1870, 3461, 4954, 6152, 6531), read by us instead of by smtp-server: that
 * turns A-labels into U-labels, merges recipients that differ in case only, takes any unknown parameter, and knows no quoted local part.
 */

export type MailCommand = {
  /** '' is the null sender. */
  readonly sender: string
  /** SIZE as declared, in bytes. */
  readonly sizeBytes?: number
  readonly body: '7BIT' | '8BITMIME'
  readonly smtpUtf8: boolean
  readonly returnContent?: 'FULL' | 'HDRS'
  readonly envelopeId?: string
}

export type Parsed<T> = { readonly kind: 'parsed'; readonly value: T } | { readonly kind: 'refused'; readonly reply: SmtpReply }
type Notify = NonNullable<Recipient['notify']>[number]
type Parameters = ReadonlyMap<string, string | undefined>

const MAIL_PARAMETERS = ['SIZE', 'BODY', 'SMTPUTF8', 'RET', 'ENVID', 'AUTH']
/** Parameters that take no value. */
const FLAGS = ['SMTPUTF8']
const RCPT_PARAMETERS = ['NOTIFY', 'ORCPT']
const PARAMETER = /^(?<key>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?<value>[\x21-\x3c\x3e-\x7e\u0080-\u{10ffff}][^\s]*))?$/u

export function parseMail(line: Buffer): Parsed<MailCommand> {
  const split = splitCommand(line, /^MAIL\s+FROM:\s*/i)
  if (split.kind === 'refused') return split
  const { path } = split.value
  const parameters = parseParameters(split.value.rest, MAIL_PARAMETERS)
  if (parameters.kind === 'refused') return parameters
  const given = parameters.value
  const bad = faultOfMailParameters(given)
  if (bad !== undefined) return refused(501, '5.5.4', bad)
  const smtpUtf8 = given.has('SMTPUTF8')
  const sender = parseSender(path, smtpUtf8)
  return sender.kind === 'refused' ? sender : parsed({ sender: sender.value, smtpUtf8, ...readMailParameters(given) })
}

function parseSender(path: string, smtpUtf8: boolean): Parsed<string> {
  if (path === '') return parsed('')
  const result = parseMailbox(path, smtpUtf8 ? 'utf8' : 'ascii')
  if (result.kind === 'mailbox') return parsed(result.mailbox.address)
  return refused(...codesOf(result.fault, 'sender'), `sender: ${result.fault.text}`)
}

function readMailParameters(given: Parameters): Omit<MailCommand, 'sender' | 'smtpUtf8'> {
  const size = given.get('SIZE')
  const returnContent = given.get('RET')?.toUpperCase()
  const envelopeId = decodeXtext(given.get('ENVID'))
  return {
    ...(size === undefined ? {} : { sizeBytes: Number(size) }),
    body: given.get('BODY')?.toUpperCase() === '8BITMIME' ? '8BITMIME' : '7BIT',
    ...(returnContent === 'FULL' || returnContent === 'HDRS' ? { returnContent } : {}),
    ...(envelopeId === undefined ? {} : { envelopeId }),
  }
}

export function parseRcpt(line: Buffer, smtpUtf8: boolean): Parsed<Recipient> {
  const split = splitCommand(line, /^RCPT\s+TO:\s*/i)
  if (split.kind === 'refused') return split
  const parameters = parseParameters(split.value.rest, RCPT_PARAMETERS)
  if (parameters.kind === 'refused') return parameters
  const result = parseMailbox(split.value.path, smtpUtf8 ? 'utf8' : 'ascii')
  if (result.kind === 'fault') return refused(...codesOf(result.fault, 'recipient'), `recipient: ${result.fault.text}`)
  const notify = parseNotify(parameters.value)
  if (typeof notify === 'string') return refused(501, '5.5.4', notify)
  const original = parseOriginalRecipient(parameters.value, smtpUtf8)
  if (original.fault !== undefined) return refused(501, '5.5.4', original.fault)
  const { address, domain } = result.mailbox
  return parsed({
    address,
    domain,
    ...(notify === undefined ? {} : { notify }),
    ...(original.value === undefined ? {} : { originalRecipient: original.value }),
  })
}

function splitCommand(line: Buffer, keyword: RegExp): Parsed<{ readonly path: string; readonly rest: string }> {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line)
  } catch {
    return refused(501, '5.5.2', 'command must be UTF-8')
  }
  const match = keyword.exec(text)
  const split = match ? splitPath(text.slice(match[0].length)) : undefined
  if (split === undefined) return refused(501, '5.5.4', 'syntax: MAIL FROM:<address> or RCPT TO:<address>')
  return parsed(split)
}

function parseParameters(text: string, known: readonly string[]): Parsed<Parameters> {
  const given = new Map<string, string | undefined>()
  if (text !== '' && !/^\s/.test(text)) return refused(501, '5.5.4', 'a space must stand between the address and its parameters')
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    const groups = PARAMETER.exec(word)?.groups
    if (groups === undefined) return refused(501, '5.5.4', 'bad parameter syntax')
    const key = String(groups['key']).toUpperCase()
    const value = groups['value']
    if (!known.includes(key)) return refused(555, '5.5.4', `parameter ${key} is not implemented`)
    if (given.has(key)) return refused(501, '5.5.4', `parameter ${key} must be given once`)
    if (FLAGS.includes(key) !== (value === undefined))
      return refused(501, '5.5.4', `parameter ${key} ${FLAGS.includes(key) ? 'has no' : 'must have a'} value`)
    given.set(key, value)
  }
  return parsed(given)
}

/** Each row: the parameter, what its value must match, and how that is said. */
const MAIL_VALUES: readonly (readonly [string, RegExp, string])[] = [
  ['SIZE', /^[0-9]{1,20}$/, 'SIZE must be a number of bytes'],
  ['BODY', /^(7BIT|8BITMIME)$/i, 'BODY must be 7BIT or 8BITMIME'],
  ['RET', /^(FULL|HDRS)$/i, 'RET must be FULL or HDRS'],
  ['ENVID', /^.{1,100}$/, 'ENVID must have at most 100 characters'],
  // RFC 4954 section 5: taken from anyone, trusted from no one.
  ['AUTH', /^.{1,500}$/, 'AUTH must have at most 500 characters'],
]

function faultOfMailParameters(given: Parameters): string | undefined {
  for (const [key, must, text] of MAIL_VALUES) {
    const value = given.get(key)
    if (value !== undefined && !must.test(value)) return text
  }
  return given.has('ENVID') && decodeXtext(given.get('ENVID')) === undefined ? 'ENVID must be xtext of printable characters' : undefined
}

function parseNotify(given: Parameters): readonly Notify[] | undefined | string {
  const value = given.get('NOTIFY')
  if (value === undefined) return undefined
  const words = [...new Set(value.toUpperCase().split(','))]
  const isNotify = (word: string): word is Notify => ['NEVER', 'SUCCESS', 'FAILURE', 'DELAY'].includes(word)
  if (!words.every(isNotify)) return 'NOTIFY must be NEVER, or a list of SUCCESS, FAILURE, DELAY'
  return words.includes('NEVER') && words.length > 1 ? 'NOTIFY=NEVER must stand alone' : words
}

/**
 * RFC 3461 section 4.2: ORCPT=addr-type;xtext, at most 500 characters. An address of type utf-8 may stand there as it is, where the
 * transaction is internationalised (RFC 6533 section 3).
 */
function parseOriginalRecipient(given: Parameters, smtpUtf8: boolean): { readonly value?: string; readonly fault?: string } {
  const value = given.get('ORCPT')
  if (value === undefined) return {}
  const fault = 'ORCPT must be type;address in xtext, at most 500 octets'
  const { type, text } = ORIGINAL_RECIPIENT.exec(value)?.groups ?? {}
  if (type === undefined || text === undefined || Buffer.byteLength(value) > 500) return { fault }
  const isUnitext = smtpUtf8 && type.toLowerCase() === 'utf-8' && UNITEXT.test(text)
  const address = isUnitext ? text : decodeXtext(text)
  return address === undefined ? { fault } : { value: `${type.toLowerCase()};${address}` }
}

const ORIGINAL_RECIPIENT = /^(?<type>[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+);(?<text>.+)$/u
const UNITEXT = /^[^\s\p{Cc}+=]+$/u

/**
 * xtext (RFC 3461 section 4); undefined when it is none or hides a control character, which could end up in a header. What it encodes is
 * ASCII: octets above 127 would be another text in each report that shows them.
 */
export function decodeXtext(text: string | undefined): string | undefined {
  if (text === undefined || /\+(?![0-7][0-9A-F])|[^\x21-\x7e]/.test(text)) return undefined
  const decoded = text.replace(/\+([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return /\p{Cc}/u.test(decoded) ? undefined : decoded
}

function codesOf(found: PathFault, whose: 'sender' | 'recipient'): [code: number, enhanced: string] {
  if (found.because === 'NeedsSmtpUtf8') return [553, '5.6.7']
  if (found.because === 'TooLong') return [501, '5.1.3']
  if (whose === 'sender') return [553, '5.1.7']
  return found.because === 'BadDomain' || found.because === 'AddressLiteral' || found.because === 'NoDomain'
    ? [550, '5.1.2']
    : [553, '5.1.3']
}

const parsed = <T>(value: T): Parsed<T> => ({ kind: 'parsed', value })
const refused = (code: number, enhanced: string, text: string): { kind: 'refused'; reply: SmtpReply } => ({
  kind: 'refused',
  reply: { code, enhanced, text },
})
