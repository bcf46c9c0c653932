/**
 * What the kernel is told next, and nothing else: pure, time is an argument. A lifetime goes to the kernel as whole seconds from now, so it is
 * computed just before the call and judged again just after it. What must never happen: addresses that the kernel keeps beyond the deadline
 * while this process looks on.
 */

/** On the node's monotonic clock, which all its processes share. */
export type Millis = number

/** The kernel looks for addresses that have ended at most once a second, and its network lock may be busy (README.md, measured). */
export const KERNEL_LATE: Millis = 1_250
/** What a call to the kernel may take without a correction after it. */
export const CALL_ALLOWANCE: Millis = 100
/**
 * No lifetime is ever longer. So it is also the mark of what a holder has put there: an address that ends within so many seconds is one that
 * somebody holds; one that ends later, or never, is the administrator's.
 */
export const LONGEST_SECONDS = 10

export type Grant = {
  /** Until when the addresses may be there; −Infinity: not at all. */
  readonly deadline: Millis
  /** When the lifetimes given last end, counted from after the call; −Infinity: none was given. */
  readonly until: Millis
}

export const NO_GRANT: Grant = { deadline: Number.NEGATIVE_INFINITY, until: Number.NEGATIVE_INFINITY }

export type Deed = { readonly kind: 'keep' } | { readonly kind: 'set'; readonly seconds: number } | { readonly kind: 'remove' }

/**
 * A longer lifetime only when it is worth a call, for each is told to everything on the node that listens to addresses. A grant that outlives
 * its deadline, because the call took long or the deadline moved, is made shorter at once.
 */
export function planDeed(grant: Grant, now: Millis): Deed {
  const isOverdrawn = grant.until > grant.deadline
  if (now >= grant.deadline) return { kind: 'remove' }
  const seconds = secondsUntil(grant.deadline, now)
  if (seconds < 1) return isOverdrawn || grant.until <= now ? { kind: 'remove' } : { kind: 'keep' }
  const gain = now + seconds * 1_000 - grant.until
  return isOverdrawn || gain >= (grant.deadline - now) / 8 ? { kind: 'set', seconds } : { kind: 'keep' }
}

/** No deadline is further away than a lifetime may be long: an agent that is to keep its addresses says so again and again. */
export const bounded = (deadline: Millis, now: Millis): Millis => Math.min(deadline, now + LONGEST_SECONDS * 1_000)

/** The lifetime for a call that begins now, rounded down; 0: none that is safe. */
export function secondsUntil(deadline: Millis, now: Millis): number {
  return Math.max(0, Math.floor((bounded(deadline, now) - now - CALL_ALLOWANCE) / 1_000))
}

export const granted = (grant: Grant, seconds: number, after: Millis): Grant => ({ ...grant, until: after + seconds * 1_000 })
