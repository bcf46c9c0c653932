import type { AgentState, RoleEffect, RoleEvent } from '../agent-state.ts'
import { mayAct } from '../role.ts'
import type { Millis } from '../timers.ts'
import type { LastChange } from './messages.ts'

/** How this process became primary, and how long the shard had nobody who acted. For people; nothing is decided from it. Pure. */
export type ChangeLog = {
  /** The last sign of life of another primary; the start of this process before there was any. */
  readonly signAt: Millis
  /** A reign that is on its way, or has not acted yet. */
  readonly coming?: Pick<LastChange, 'reason' | 'copy'> & { readonly signAt: Millis }
  readonly last?: LastChange
}

export const startChangeLog = (at: Millis): ChangeLog => ({ signAt: at })

export type Moment = {
  readonly before: AgentState
  readonly event: RoleEvent
  readonly after: AgentState
  readonly effects: readonly RoleEffect[]
  readonly wall: Millis
}

export function logChange(log: ChangeLog, { before, event, after, effects, wall }: Moment): ChangeLog {
  const heard = event.kind === 'beacon' || event.kind === 'over' ? { ...log, signAt: event.at } : log
  if (before.role.kind === 'standby' && after.role.kind === 'claiming') {
    const reason = reasonOf(before, after, effects)
    // With the win it is complete, so this is the last moment at which anybody knows.
    const copy = reason === 'Forced' ? ({ copy: before.disk.complete ? 'Complete' : 'Incomplete' } as const) : {}
    return { ...heard, coming: { reason, ...copy, signAt: heard.signAt } }
  }
  const { coming, ...rest } = heard
  // What it has heard of is its own reign, or one that has not come about.
  if (after.role.kind === 'standby') return before.role.kind === 'primary' ? { ...rest, signAt: event.at } : rest
  if (coming === undefined || !mayAct(after, event.at)) return heard
  const { signAt, ...how } = coming
  return { ...rest, last: { ...how, at: wall, durationMillis: Math.round(event.at - signAt) } }
}

function reasonOf(before: AgentState, after: AgentState, effects: readonly RoleEffect[]): LastChange['reason'] {
  if (after.role.kind !== 'claiming') return 'PrimaryLost'
  const { epoch, forcedEpoch } = after.role.claim.content
  if (forcedEpoch === epoch) return 'Forced'
  if (before.pledge.heardOver === epoch - 1) return 'Switchover'
  const isOwn = after.view.known?.holder.instance === after.self.instance
  return isOwn || effects.some((effect) => effect.kind === 'noteQuickClaim') ? 'Restarted' : 'PrimaryLost'
}
