import { domainToASCII } from 'node:url'
import type { Domain } from '../domain/envelope.ts'

/**
 * Paths of MAIL and RCPT (RFC 5321 section 4.1.2, RFC 6531 section 3.3) read strictly: what passes here can be written into a
 * command, a header and a report again without quoting or checking. Limits: local part 64, domain 255, path 256 octets (4.5.3.1).
 */

export type Mailbox = {
  /** As the client wrote it, but with the domain in lower case and A-labels. */
  readonly address: string
  readonly localPart: string
  readonly domain: Domain
}

export type PathFault = {
  readonly because: 'Syntax' | 'TooLong' | 'NoDomain' | 'BadDomain' | 'AddressLiteral' | 'NeedsSmtpUtf8'
  readonly text: string
}

export type PathResult = { readonly kind: 'mailbox'; readonly mailbox: Mailbox } | { readonly kind: 'fault'; readonly fault: PathFault }

const ATEXT = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\u0080-\\u{10ffff}-]"
const DOT_STRING = new RegExp(`^${ATEXT}+(?:\\.${ATEXT}+)*$`, 'u')
const QUOTED_STRING = /^"(?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\u{10ffff}]|\\[\x20-\x7e])*"$/u
/** Appendix C: a source route must be accepted and ignored. */
const SOURCE_ROUTE = /^@[A-Za-z0-9.[\]:-]+(?:,@[A-Za-z0-9.[\]:-]+)*:(?=[^@])/
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
/** C1 controls and invisible characters have no place in an address: they only serve to deceive logs and eyes. */
const INVISIBLE = /[\u0080-\u009f\u200b\u2060\ufeff]/

const MAX_LOCAL_PART = 64
const MAX_DOMAIN = 255
const MAX_PATH = 256

/** The path at the start of `text`, without its angle brackets, and what follows it; undefined when there is none. */
export function splitPath(text: string): { readonly path: string; readonly rest: string } | undefined {
  if (!text.startsWith('<')) return undefined
  let quoted = false
  for (let i = 1; i < text.length; i++) {
    const char = text[i]
    if (quoted && char === '\\') i++
    else if (char === '"') quoted = !quoted
    else if (char === '>' && !quoted) return { path: text.slice(1, i), rest: text.slice(i + 1) }
  }
  return undefined
}

/** Parses what stood between the angle brackets; it must not be empty. */
export function parseMailbox(path: string, utf8: 'utf8' | 'ascii'): PathResult {
  if (byteLength(path) + 2 > MAX_PATH) return fault('TooLong', `path must have at most ${MAX_PATH} octets, has ${byteLength(path) + 2}`)
  const mailbox = path.replace(SOURCE_ROUTE, '')
  if (utf8 === 'ascii' && /\P{ASCII}/u.test(mailbox)) return fault('NeedsSmtpUtf8', 'address has non-ASCII characters; that needs SMTPUTF8')
  if (INVISIBLE.test(mailbox)) return fault('Syntax', 'address has control or invisible characters')
  const at = mailbox.startsWith('"') ? endOfQuoted(mailbox) : mailbox.indexOf('@')
  if (at < 0 || mailbox[at] !== '@') return fault('NoDomain', 'address must be local-part@domain')
  const localPart = mailbox.slice(0, at)
  if (!DOT_STRING.test(localPart) && !QUOTED_STRING.test(localPart)) return fault('Syntax', 'bad local part')
  if (byteLength(localPart) > MAX_LOCAL_PART) {
    return fault('TooLong', `local part must have at most ${MAX_LOCAL_PART} octets, has ${byteLength(localPart)}`)
  }
  return withDomain(localPart, mailbox.slice(at + 1))
}

function withDomain(localPart: string, text: string): PathResult {
  if (text.startsWith('[')) return fault('AddressLiteral', 'domain must be a name; address literals are not served')
  const domain = parseDomain(text)
  if (domain === undefined) return fault('BadDomain', 'domain must be a fully qualified host name')
  return { kind: 'mailbox', mailbox: { address: `${localPart}@${domain}`, localPart, domain } }
}

/**
 * A fully qualified domain in lower case and A-labels; undefined when it is none. ASCII does not pass through domainToASCII, which
 * takes numbers for IPv4 addresses ('1' becomes '0.0.0.1').
 */
export function parseDomain(text: string): Domain | undefined {
  const ascii = /^\p{ASCII}*$/u.test(text) ? text.toLowerCase() : domainToASCII(text)
  const labels = ascii.split('.')
  if (ascii.length > MAX_DOMAIN || labels.length < 2 || !labels.every((label) => LABEL.test(label))) return undefined
  // An all-numeric top-level label is an IPv4 address without its brackets.
  return /^[0-9]+$/.test(labels.at(-1) ?? '') ? undefined : (ascii as Domain)
}

function endOfQuoted(text: string): number {
  for (let i = 1; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '"') return i + 1
  }
  return -1
}

const byteLength = (text: string): number => Buffer.byteLength(text, 'utf8')
const fault = (because: PathFault['because'], text: string): PathResult => ({ kind: 'fault', fault: { because, text } })
