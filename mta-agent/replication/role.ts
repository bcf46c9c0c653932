import type { AgentState, DiskFacts, EventOf, Primary, RoleEvent, Self, Step } from './agent-state.ts'
import { stay } from './agent-state.ts'
import { endCall, sendRead } from './calls.ts'
import * as primary from './primary.ts'
import { keyOf } from './record.ts'
import { actsUntil, addressLifetimeSeconds, pledge } from './rights.ts'
import * as standby from './standby.ts'
import type { Millis, Timers } from './timers.ts'

/**
 * The role of an agent in its shard: state and event in, state and effects out (R1 to R9, README.md). One of these for each process, fed
 * by one thread. What must never happen: two agents of a shard for which `mayAct` says yes at the same time.
 *
 *                          promise over, in the set (R5), or forced (R9): GET, then one conditional write
 *   start ──▶ standby ──────────────────────────────────────────────────────────────────────────────▶ claiming ─┐ GET shows the
 *   (bound)     ▲ ▲ ▲                                                                                    │      │ claim's base:
 *               │ │ └───────────── GET shows another version that is not the claim: lost (bound) ────────┘◀─────┘ same write again
 *               │ │                                                                                      │
 *               │ └── GET shows another holder or epoch (bound) ── primary ◀── seen is on the disk ── GET shows the claim, at its epoch
 *               └──── renounced: addresses gone, then "over" (bound) ──┘
 *
 * Within primary a switchover goes asked → finishing → closing → detaching → renounced; called off, or without an heir, it ends in primary.
 */

export type Start = {
  readonly self: Self
  readonly timers: Timers
  readonly durability: 'Strict' | 'Available'
  readonly disk: DiskFacts
  readonly at: Millis
}

/** Of a process whose store is open and verified. It behaves as if it had just promised (R4). */
export function startAgent({ at, ...start }: Start): AgentState {
  return {
    ...start,
    view: { unsettled: [] },
    calls: { next: 1, lastReadAt: Number.NEGATIVE_INFINITY },
    pledge: pledge(undefined, at, start.timers),
    role: { kind: 'standby' },
  }
}

type Steps = { readonly [K in RoleEvent['kind']]: (state: AgentState, event: EventOf<K>) => Step }

const STEPS: Steps = {
  tick,
  read,
  callEnded,
  seenStored: standby.seenStored,
  welcomed: standby.welcomed,
  following: standby.following,
  joinFailed: standby.joinFailed,
  completed: (state) => stay({ ...state, disk: { ...state.disk, complete: true } }),
  sessionEnded,
  beacon: standby.beaconArrived,
  over: standby.overHeard,
  force: (state, event) =>
    state.role.kind === 'standby'
      ? stay({ ...state, role: { ...state.role, force: event.force } })
      : { state, effects: [{ kind: 'forceRefused', because: 'NotStandby' }] },
  followed: (state, event) => asPrimary(state, (role) => primary.followed(role, event)),
  leaving: (state, event) => asPrimary(state, (role) => primary.leaving(role, event)),
  followerLeft: (state, event) => asPrimary(state, (role) => primary.followerLeft(role, event)),
  promised: (state, event) => asPrimary(state, (role) => primary.promised(state, role, event)),
  confirmed: (state, event) => asPrimary(state, (role) => primary.confirmed(state, role, event)),
  appended: (state, event) => asPrimary(state, (role) => primary.appended(role, event)),
  synced: (state, event) => asPrimary(state, (role) => ({ ...role, synced: Math.max(role.synced, event.sequence) })),
  higherEpoch: (state, event) => asPrimary(state, (role) => ({ ...role, doubted: role.doubted || event.epoch > role.epoch })),
  switchover: (state, event) =>
    state.role.kind === 'primary'
      ? primary.askSwitchover(state, state.role, event)
      : { state, effects: [{ kind: 'switchoverRefused', because: 'NotPrimary' }] },
  switchoverCalledOff: (state) => (state.role.kind === 'primary' ? primary.callOffSwitchover(state, state.role) : stay(state)),
  transactionsEnded: (state, event) =>
    state.role.kind === 'primary' ? primary.transactionsEnded(state, state.role, event.at) : stay(state),
  addressesRemoved: renounce,
}

/** The only way to move. */
export function step<K extends RoleEvent['kind']>(state: AgentState, event: EventOf<K>): Step {
  const move: Steps[K] = STEPS[event.kind as K]
  return move(state, event)
}

function asPrimary(state: AgentState, change: (role: Primary) => Primary): Step {
  return stay(state.role.kind === 'primary' ? { ...state, role: change(state.role) } : state)
}

function tick(state: AgentState, event: EventOf<'tick'>): Step {
  switch (state.role.kind) {
    case 'standby':
      return standby.tickStandby(state, state.role, event.at)
    case 'claiming':
      return standby.tickClaiming(state, state.role, event.at)
    case 'primary':
      return primary.tickPrimary(state, state.role, event)
  }
}

function read(before: AgentState, event: EventOf<'read'>): Step {
  const state = endCall(before, event.call)
  if (!state) return stay(before)
  switch (state.role.kind) {
    case 'standby':
      return standby.readAsStandby(state, state.role, event)
    case 'claiming':
      return standby.readAsClaiming(state, state.role, event)
    case 'primary': {
      const { role } = state
      return primary.readAsPrimary(state, role, event, (now) => ({
        state: standby.becomeStandby(now, event.at),
        effects: [{ kind: 'stepDown', epoch: role.epoch }],
      }))
    }
  }
}

function callEnded(before: AgentState, event: EventOf<'callEnded'>): Step {
  const state = endCall(before, event.call)
  if (!state) return stay(before)
  if (state.role.kind === 'claiming') return standby.claimAnswered(state, state.role, event.at)
  // What a set write came to shows the next GET (R3), and clients may wait for it.
  const wasWrite = before.calls.open?.kind === 'write'
  return state.role.kind === 'primary' && wasWrite ? sendRead(state, event.at) : stay(state)
}

function sessionEnded(state: AgentState): Step {
  if (state.role.kind !== 'standby') return stay(state)
  const { following: _, ...role } = state.role
  return stay({ ...state, role })
}

/** R6: standby first, for good; then the word. */
function renounce(state: AgentState, event: EventOf<'addressesRemoved'>): Step {
  if (state.role.kind !== 'primary' || state.role.switchover?.stage !== 'detaching') return stay(state)
  const { epoch, last } = state.role
  return {
    state: standby.becomeStandby(state, event.at),
    effects: [
      { kind: 'sayOver', epoch, last },
      { kind: 'stepDown', epoch },
    ],
  }
}

// What may be done now. To be asked where the effect is: before each transaction's first byte, before each command that would complete one.

/** When acting must have ended; −Infinity for one who may not act at all. */
export function actingEnds(state: AgentState): Millis {
  if (state.role.kind !== 'primary') return Number.NEGATIVE_INFINITY
  const stage = state.role.switchover?.stage
  if (stage === 'closing' || stage === 'detaching') return Number.NEGATIVE_INFINITY
  return actsUntil(primary.untilOf(state, state.role), state.timers)
}

/** R1: a transaction that runs may go on. */
export const mayAct = (state: AgentState, at: Millis): boolean => at < actingEnds(state)

/** R1: a transaction may begin. */
export const mayStart = (state: AgentState, at: Millis): boolean =>
  mayAct(state, at) && state.role.kind === 'primary' && state.role.switchover?.stage !== 'finishing'

/** 0: the addresses must not be held, or be removed. */
export function addressLifetime(state: AgentState, at: Millis): number {
  if (state.role.kind !== 'primary' || at < state.role.attachFrom || !mayAct(state, at)) return 0
  return addressLifetimeSeconds(primary.untilOf(state, state.role), at, state.timers)
}

export type AcceptRefusal = 'NotPrimary' | 'SwitchoverUnderWay' | 'NoStandbyInSync'

/** Whether new mail is taken in. The promise itself is `acknowledges`: this keeps out what could not be acknowledged. */
export function judgeAccept(state: AgentState): 'accept' | AcceptRefusal {
  if (state.role.kind !== 'primary') return 'NotPrimary'
  const stage = state.role.switchover?.stage
  if (stage === 'closing' || stage === 'detaching') return 'SwitchoverUnderWay'
  return state.durability === 'Strict' && primary.othersOf(state, state.role).length === 0 ? 'NoStandbyInSync' : 'accept'
}

/**
 * R2: what a client of an entry of this reign is told. `alone`: 250, but no other copy has it. `refuse`: 452, a set of one under Strict.
 */
export function acknowledges(state: AgentState, sequence: number): 'wait' | 'inSync' | 'alone' | 'refuse' {
  if (state.role.kind !== 'primary' || primary.committedSequence(state, state.role) < sequence) return 'wait'
  if (primary.othersOf(state, state.role).length > 0) return 'inSync'
  return state.durability === 'Strict' ? 'refuse' : 'alone'
}

/** R2: only this much of the log may be delivered. 0 for one who is not primary. */
export const committed = (state: AgentState): number => (state.role.kind === 'primary' ? primary.committedSequence(state, state.role) : 0)

/** Whether to answer `follow` with `welcome` (section 6). One that has seen a higher epoch knows more than this primary. */
export function judgeFollow(state: AgentState, seen: number): 'welcome' | 'NotPrimary' | 'Behind' {
  if (state.role.kind !== 'primary') return 'NotPrimary'
  return state.role.epoch >= seen ? 'welcome' : 'Behind'
}

/** For metrics and conditions: copies whose word is needed now. */
export const needed = (state: AgentState): readonly string[] =>
  state.role.kind === 'primary' ? primary.othersOf(state, state.role).map(keyOf) : []
