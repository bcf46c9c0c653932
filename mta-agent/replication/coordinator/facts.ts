import { keyOf } from '#agent/contract/record.ts'
import type { AgentState } from '../agent-state.ts'
import { actingEnds, acknowledges, committed, judgeAccept, mayStart, needed } from '../role.ts'
import { untilOf } from '../primary.ts'
import type { Millis } from '../timers.ts'
import type { LastChange, ReplicationFacts } from './messages.ts'
import { NO_PERMISSION, type Permission } from './shared-cell.ts'

/** What is told of the state of an agent: to its main thread by numbers, to people by facts. Pure. */

export function permissionOf(state: AgentState, at: Millis): Permission {
  const { role } = state
  const acts = actingEnds(state)
  if (role.kind !== 'primary' || acts === Number.NEGATIVE_INFINITY) return NO_PERMISSION
  return { acts, starts: mayStart(state, at) ? acts : NEVER, right: untilOf(state, role), attachFrom: role.attachFrom }
}

const NEVER = Number.NEGATIVE_INFINITY

export type Commitment = { readonly epoch: number; readonly sequence: number; readonly how: 'inSync' | 'alone' | 'refuse' }

/** R2, of one moment. Undefined for one who does not lead, or where nothing is committed yet. */
export function commitmentOf(state: AgentState): Commitment | undefined {
  if (state.role.kind !== 'primary') return undefined
  const sequence = committed(state)
  const how = acknowledges(state, sequence)
  return sequence === 0 || how === 'wait' ? undefined : { epoch: state.role.epoch, sequence, how }
}

const ROLES = { standby: 'Standby', claiming: 'Claiming', primary: 'Primary' } as const

export function factsOf(state: AgentState, following: string | undefined, lastChange: LastChange | undefined): ReplicationFacts {
  const { role, view, disk } = state
  const wanted = needed(state)
  const primary = role.kind === 'primary' ? role : undefined
  return {
    role: ROLES[role.kind],
    epoch: disk.seen,
    record: view.known,
    following,
    followers: (primary?.followers ?? []).map(({ copy, confirmed, complete }) => ({
      copy,
      confirmed,
      complete,
      needed: wanted.includes(keyOf(copy)),
    })),
    accepting: judgeAccept(state),
    acceptingAlone: primary !== undefined && wanted.length === 0 && state.durability === 'Available',
    trouble: state.trouble,
    attachFrom: primary?.attachFrom,
    switchover: primary?.switchover?.stage,
    lastChange,
  }
}
