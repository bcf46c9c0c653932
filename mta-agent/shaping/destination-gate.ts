/**
 * Whether a destination, or a route to it, may be dialled.
 *
 *   open ──failure×3──▶ closed ──cool-down over──▶ probing ──any answer──▶ open
 *                         ▲                           │
 *                         └───failure, twice as long──┘
 *
 * One probe at a time: a recovering destination must not be met by the whole backlog. A closed gate costs the waiting mail nothing:
 * it stays due, is not counted as tried, and goes when the gate opens.
 */
export type Gate =
  | { readonly state: 'open'; readonly failures: number }
  | { readonly state: 'closed'; readonly until: number; readonly coolDownMillis: number }
  | { readonly state: 'probing'; readonly coolDownMillis: number }

export type GateEvent =
  /** Nothing could be learnt of any recipient, because of the destination. `at` in milliseconds. */
  | { readonly kind: 'failed'; readonly at: number }
  /** It answered for a recipient, be it with no. */
  | { readonly kind: 'answered' }
  /** Somebody is about to dial. */
  | { readonly kind: 'dialled'; readonly at: number }
  /** The dialling that began ended without an answer and without a failure of the destination: it was called off. */
  | { readonly kind: 'calledOff'; readonly at: number }
  /** There is no way to it until then, for reasons known already. */
  | { readonly kind: 'blocked'; readonly until: number }

export const OPEN: Gate = { state: 'open', failures: 0 }

/** One failure may be chance, and a connection lost; three in a row, with no answer between, are not. */
const FAILURES_TO_CLOSE = 3
/** How long a gate stays closed: at first, and at most after doubling. Milliseconds. */
export type CoolDown = { readonly first: number; readonly last: number }

/**
 * A minute, for providers count their rates by the minute; up to 30, the interval between attempts at a destination of RFC 5321 section
 * 4.5.4.1. A retry ladder with shorter steps shortens both: who wants mail tried every 10 seconds means it of destinations too.
 */
export const coolDownFor = (retrySeconds: readonly number[]): CoolDown => ({
  first: Math.min(60_000, ...retrySeconds.map((seconds) => seconds * 1000)),
  last: Math.min(1_800_000, Math.max(...retrySeconds) * 1000),
})

export function step(gate: Gate, event: GateEvent, coolDown: CoolDown): Gate {
  if (event.kind === 'answered') return OPEN
  if (event.kind === 'blocked') return block(gate, event.until, coolDown)
  switch (gate.state) {
    case 'open':
      if (event.kind !== 'failed') return gate
      return gate.failures + 1 < FAILURES_TO_CLOSE
        ? { state: 'open', failures: gate.failures + 1 }
        : { state: 'closed', until: event.at + coolDown.first, coolDownMillis: coolDown.first }
    case 'closed':
      // Failures of attempts that began before it closed tell nothing new.
      return event.kind === 'dialled' && event.at >= gate.until ? { state: 'probing', coolDownMillis: gate.coolDownMillis } : gate
    case 'probing': {
      if (event.kind === 'dialled') return gate
      if (event.kind === 'calledOff') return { state: 'closed', until: event.at, coolDownMillis: gate.coolDownMillis }
      const coolDownMillis = Math.max(coolDown.first, Math.min(gate.coolDownMillis * 2, coolDown.last))
      return { state: 'closed', until: event.at + coolDownMillis, coolDownMillis }
    }
  }
}

function block(gate: Gate, until: number, coolDown: CoolDown): Gate {
  if (gate.state === 'closed' && gate.until >= until) return gate
  return { state: 'closed', until, coolDownMillis: gate.state === 'open' ? coolDown.first : gate.coolDownMillis }
}

/** How many may dial now, where `most` may while it is open. */
export function admits(gate: Gate, now: number, most: number): number {
  switch (gate.state) {
    case 'open':
      return most
    case 'closed':
      return now >= gate.until ? Math.min(1, most) : 0
    case 'probing':
      return 0
  }
}
