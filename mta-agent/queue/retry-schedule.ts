import type { Millis } from './queue-store.ts'

/** When a deferred delivery is attempted again (RFC 5321 section 4.5.4.1), and when it is given up. Pure. */

export type RetryLadder = {
  /** The wait after attempt 1, 2, …; the last one repeats. At least one, each above 0. */
  readonly retrySeconds: readonly number[]
  /** From acceptance on. A message is attempted once more at this age, then returned. */
  readonly maxAgeSeconds: number
}

export type RetryQuestion = {
  readonly ladder: RetryLadder
  /** How often it was tried, this attempt included; 1 or more. */
  readonly attempts: number
  readonly acceptedAt: Millis
  readonly now: Millis
  /** From 0 to 1, random: spreads the wait by ±10 %, so that what failed together does not come back together. */
  readonly jitter: number
}

export type RetryAnswer = { readonly kind: 'retry'; readonly at: Millis } | { readonly kind: 'expired' }

export function planRetry({ ladder, attempts, acceptedAt, now, jitter }: RetryQuestion): RetryAnswer {
  if (!Number.isInteger(attempts) || attempts < 1) throw new RangeError(`attempts must be a whole number of 1 or more, was ${attempts}`)
  const seconds = ladder.retrySeconds[Math.min(attempts, ladder.retrySeconds.length) - 1]
  if (seconds === undefined || seconds <= 0)
    throw new RangeError(`retrySeconds must be a list of numbers above 0, was ${JSON.stringify(ladder.retrySeconds)}`)
  const deadline = acceptedAt + ladder.maxAgeSeconds * 1000
  if (now >= deadline) return { kind: 'expired' }
  // The last attempt is at the deadline: a ladder with long steps must not shorten the time that was promised.
  return { kind: 'retry', at: Math.ceil(Math.min(now + seconds * 1000 * (0.9 + 0.2 * jitter), deadline)) }
}
