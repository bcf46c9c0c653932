import { isCanonicalAddress, parseAddress } from '#crds/addresses.ts'
import type { Millis } from './lifetimes.ts'
import type { Attachment, ManagedAddress } from './port.ts'
import { FULL_LENGTH } from './placement.ts'

/**
 * What agent and holder say to each other over the socket: JSON, one message a line. The holder greets first, and then answers each request, by
 * its number, in whatever order they are done. The end of the connection removes the addresses.
 *
 *   ← {"version":1,"clock":81234567.1}
 *   → {"id":1,"ask":"attach","addresses":[{"address":"192.0.2.7"}],"deadline":81239400}
 *   ← {"id":1,"held":["192.0.2.7"],"refused":[]}
 *   → {"id":2,"ask":"extend","deadline":81239900}
 *   → {"id":3,"ask":"remove","addresses":["192.0.2.7"]}
 *   ← {"id":3,"error":"…"}
 */

export const VERSION = 1
/** 1024 addresses with all that can be said of them. */
export const LONGEST_LINE = 256 * 1024
const MOST_ADDRESSES = 1_024
/** A kernel name has 15 characters at most; a space or a line's end would begin another word of the command. */
const INTERFACE = /^[^\s/]{1,15}$/

export type Greeting = { readonly version: number; readonly clock: Millis }
export type Request = { readonly id: number } & (
  | { readonly ask: 'attach'; readonly addresses: readonly ManagedAddress[]; readonly deadline: Millis }
  | { readonly ask: 'extend'; readonly deadline: Millis }
  | { readonly ask: 'remove'; readonly addresses: readonly string[] }
)
/** An error without a number is the last word before the end. */
export type Reply = ({ readonly id: number } & Attachment) | { readonly id?: number; readonly error: string }

export class ProtocolFault extends Error {
  override readonly name = 'ProtocolFault'
}

/** Every word of it goes into a command that root carries out. Throws ProtocolFault. */
export function parseRequest(line: string): Request {
  const message = parseObject(line)
  const id = message['id']
  if (!isCount(id)) throw fault('id must be a whole number', id)
  switch (message['ask']) {
    case 'attach':
      return { id, ask: 'attach', addresses: listOf(message['addresses']).map(parseManaged), deadline: parseDeadline(message['deadline']) }
    case 'extend':
      return { id, ask: 'extend', deadline: parseDeadline(message['deadline']) }
    case 'remove':
      return { id, ask: 'remove', addresses: listOf(message['addresses']).map(parseText) }
    default:
      throw fault('ask must be attach, extend or remove', message['ask'])
  }
}

export function parseGreeting(line: string): Greeting {
  const { version, clock } = parseObject(line)
  if (version !== VERSION) throw fault(`version must be ${VERSION}`, version)
  return { version, clock: parseDeadline(clock) }
}

export function parseReply(line: string): Reply {
  const message = parseObject(line)
  const { id, error } = message
  if (typeof error === 'string' && (id === undefined || isCount(id))) return id === undefined ? { error } : { id, error }
  if (!isCount(id) || !Array.isArray(message['held']) || !Array.isArray(message['refused'])) {
    throw fault('a reply must have id, held and refused, or error', message)
  }
  return message as Reply
}

function parseManaged(value: unknown): ManagedAddress {
  const entry = Object(value) as Record<string, unknown>
  const address = parseText(entry['address'])
  const { prefixLength, interface: name } = entry
  const full = FULL_LENGTH[parseAddress(address).family]
  if (prefixLength !== undefined && !(isCount(prefixLength) && prefixLength >= 1 && prefixLength <= full)) {
    throw fault(`prefixLength of ${address} must be 1 to ${full}`, prefixLength)
  }
  if (name !== undefined && !(typeof name === 'string' && INTERFACE.test(name))) {
    throw fault(`interface of ${address} must be the name of one`, name)
  }
  return { address, ...(prefixLength === undefined ? {} : { prefixLength }), ...(name === undefined ? {} : { interface: name }) }
}

function parseText(value: unknown): string {
  if (typeof value !== 'string' || !isCanonicalAddress(value)) throw fault('an address must be in its canonical spelling', value)
  return value
}

function parseDeadline(value: unknown): Millis {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw fault('a time must be milliseconds of the monotonic clock', value)
  return value
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length > MOST_ADDRESSES) throw fault(`addresses must be a list of at most ${MOST_ADDRESSES}`, value)
  return value as unknown[]
}

function parseObject(line: string): Record<string, unknown> {
  const message = parseJson(line)
  if (typeof message !== 'object' || message === null) throw fault('a message must be an object', message)
  return message as Record<string, unknown>
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw fault('a message must be JSON', line)
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

const fault = (must: string, was: unknown): ProtocolFault => new ProtocolFault(`${must}, was ${JSON.stringify(was)?.slice(0, 200)}`)
