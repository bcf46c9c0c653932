import { type Millis, secondsUntil } from './address-holder/lifetimes.ts'
import type { ManagedAddress } from './address-holder/port.ts'

/**
 * What the address holder is asked for next: pure, time is an argument. What must never happen: a deadline beyond the right to act, or one that
 * is told without such a right.
 */

/** When addresses may be held (hot standby, sections 3 and 4). */
export type Tenure = {
  /** Not before this: until then the kernel of the primary before may still have them. */
  readonly from: Millis
  /** When acting must have ended. −Infinity: not at all. */
  readonly acts: Millis
  /** When the right ends. Infinity: nobody else can have one. */
  readonly right: Millis
}

/** Of an instance without standbys: as long as its process lives. */
export const ALONE: Tenure = { from: Number.NEGATIVE_INFINITY, acts: Number.POSITIVE_INFINITY, right: Number.POSITIVE_INFINITY }

/** How long an attempt that did not attach all is left alone. */
export const RETRY: Millis = 1_000

export type Situation = {
  readonly now: Millis
  readonly tenure: Tenure
  /** How long a deadline may be away at most: the timer `right`. */
  readonly lifetime: Millis
  /** What shall be on the node: `addressesToHold`. */
  readonly wanted: readonly ManagedAddress[]
  /** On the node by the holder's last word, and the deadline of that word. */
  readonly held: readonly string[]
  readonly heldUntil: Millis
  /** The latest deadline that was told, answered or not. */
  readonly told: Millis
  readonly tried: Tried
  readonly isAttaching: boolean
  readonly isExtending: boolean
}

/** The last attempt to attach: what for, and when it was answered. */
export type Tried = { readonly wanted: readonly ManagedAddress[]; readonly at: Millis }

export const NOTHING_TRIED: Tried = { wanted: [], at: Number.NEGATIVE_INFINITY }

export type AddressDeed =
  | { readonly kind: 'wait' }
  | { readonly kind: 'attach'; readonly addresses: readonly ManagedAddress[]; readonly deadline: Millis }
  | { readonly kind: 'extend'; readonly deadline: Millis }

const WAIT: AddressDeed = { kind: 'wait' }

/** Extended when an eighth is gained, not at each beacon: every listener of the node hears each address each time. */
export function planAddresses(situation: Situation): AddressDeed {
  const { now, tenure, lifetime, wanted, tried, told } = situation
  if (now < tenure.from || now >= tenure.acts) return WAIT
  const deadline = Math.min(tenure.right, now + lifetime)
  // The holder gives nothing for less than a second; to ask the neighbourhood for it would be in vain.
  if (secondsUntil(deadline, now) < 1) return WAIT
  const held = now < situation.heldUntil ? situation.held : []
  const isMissing = wanted.some(({ address }) => !held.includes(address))
  const isDue = !isSame(wanted, tried.wanted) || (isMissing && now >= tried.at + RETRY)
  if (isDue && !situation.isAttaching) return { kind: 'attach', addresses: wanted, deadline }
  const isWorthIt = held.length > 0 && deadline - told >= lifetime / 8
  return isWorthIt && !situation.isExtending ? { kind: 'extend', deadline } : WAIT
}

/**
 * Those of the document, and those that were taken out of it and are on the node still, as long as a connection is open from them: it would
 * fall silent without its address.
 */
export function addressesToHold(
  ofDocument: readonly ManagedAddress[],
  there: readonly ManagedAddress[],
  used: readonly string[],
): readonly ManagedAddress[] {
  const leaving = there.filter(({ address }) => !ofDocument.some((one) => one.address === address) && used.includes(address))
  return [...ofDocument, ...leaving]
}

const isSame = (some: readonly ManagedAddress[], others: readonly ManagedAddress[]): boolean =>
  some.length === others.length && some.every((one, index) => textOf(one) === textOf(others[index]))

const textOf = (one: ManagedAddress | undefined): string => `${one?.address}/${one?.prefixLength ?? ''} ${one?.interface ?? ''}`
