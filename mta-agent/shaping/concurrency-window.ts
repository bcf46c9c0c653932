/**
 * How many connections a destination bears, learnt from its refusals: a host that says no to a further connection while others of ours
 * are open has told us its limit. Up by one for each round of answers, down to what was open when it refused. Pure.
 */
export type ConcurrencyWindow = {
  /** Most at a time; at least 1. */
  readonly size: number
  /** Answers since the size last changed. */
  readonly answers: number
}

/** `inUse`: those open or being opened when one more was refused, that one included. */
export function shrink(window: ConcurrencyWindow | undefined, inUse: number): ConcurrencyWindow {
  return { size: Math.max(1, Math.min(window?.size ?? Infinity, inUse - 1)), answers: 0 }
}

/** undefined: as wide as the configured limit `most`, there is nothing to remember. */
export function grow(window: ConcurrencyWindow, most: number): ConcurrencyWindow | undefined {
  if (window.answers + 1 < window.size) return { size: window.size, answers: window.answers + 1 }
  return window.size + 1 >= most ? undefined : { size: window.size + 1, answers: 0 }
}

/** Whether somebody else should know of the change: another order of size, or none. One more or less is learnt as fast as it is told. */
export const isNews = (before: ConcurrencyWindow | undefined, after: ConcurrencyWindow | undefined): boolean =>
  orderOf(before) !== orderOf(after)

const orderOf = (window: ConcurrencyWindow | undefined): number => (window === undefined ? Infinity : Math.floor(Math.log2(window.size)))
