import type { LogEntry } from './log-entry.ts'

/**
 * What has happened to the mail of this queue since its log began, whoever led it then. Each entry of the log says what it adds, so these counts
 * are the same in every copy, cost no entry of their own, and go on after a restart or a failover where they were.
 */
export type Handled = {
  /** Messages taken from clients. */
  readonly accepted: number
  /** Recipients. */
  readonly delivered: number
  readonly bounced: number
  /** Attempts for a recipient that came to nothing yet. */
  readonly deferred: number
}

export const NOTHING_HANDLED: Handled = { accepted: 0, delivered: 0, bounced: 0, deferred: 0 }

export const addHandled = (a: Handled, b: Handled): Handled => combine(a, b, 1)
export const takeHandled = (a: Handled, b: Handled): Handled => combine(a, b, -1)

const combine = (a: Handled, b: Handled, sign: 1 | -1): Handled => ({
  accepted: a.accepted + sign * b.accepted,
  delivered: a.delivered + sign * b.delivered,
  bounced: a.bounced + sign * b.bounced,
  deferred: a.deferred + sign * b.deferred,
})

/** A message that comes back (R8) was accepted in a log that is not this one; a report was accepted from nobody. */
export function handledBy(entry: LogEntry): Handled {
  switch (entry.kind) {
    case 'stored':
    case 'takenBack':
      return { ...NOTHING_HANDLED, accepted: 1 }
    case 'settled': {
      const of = (kind: 'delivered' | 'bounced' | 'deferred'): number =>
        entry.mark.outcomes.filter(({ outcome }) => outcome.kind === kind).length
      return { accepted: 0, delivered: of('delivered'), bounced: of('bounced'), deferred: of('deferred') }
    }
    case 'noted':
      return NOTHING_HANDLED
  }
}
