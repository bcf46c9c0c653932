import type { CoolDown, Gate, GateEvent } from './destination-gate.ts'

/** What of a gate is worth telling to whoever delivers next, in this process or another. Pure. */

/** Shorter ones are over before somebody else delivers. */
const LEAST_MILLIS = 10_000
/** How long after its end a closing still says that one should ask with care. */
const REMEMBERED_MILLIS = 3_600_000

export type Closing = { readonly until: number; readonly coolDownMillis: number }

/**
 * After the event: what is to be remembered, 'nothing' where there is nothing any more, undefined where it is as before. Only failures close for
 * others too: what is blocked is so by routes, which tell by themselves.
 */
export function learn(after: Gate, event: GateEvent): Closing | 'nothing' | undefined {
  if (after.state === 'open') return 'nothing'
  if (after.state !== 'closed' || event.kind !== 'failed') return undefined
  const { until, coolDownMillis } = after
  return until - event.at < LEAST_MILLIS ? undefined : { until, coolDownMillis }
}

/** The gate again; undefined where that was too long ago. A clock that was wrong then, or is now, closes no gate for longer than gates close. */
export function recall({ until, coolDownMillis }: Closing, now: number, { first, last }: CoolDown): Gate | undefined {
  if (until + REMEMBERED_MILLIS < now) return undefined
  return { state: 'closed', until: Math.min(until, now + last), coolDownMillis: Math.min(Math.max(first, coolDownMillis), last) }
}
