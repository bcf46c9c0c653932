import {
  type AgentState,
  type Claiming,
  type EventOf,
  type Force,
  type ForceRefusal,
  type Standby,
  stay,
  type Step,
  troubleOf,
} from './agent-state.ts'
import { giveUp, isCalling, mayReadAgain, sendRead, sendWrite } from './calls.ts'
import { leads } from './primary.ts'
import { claimedSet, type Copy, includes, recordRead, type RecordContent, sameHolder, type ShardRecord } from './record.ts'
import { isBound, pledge, released } from './rights.ts'
import type { Millis } from './timers.ts'

/**
 * Standby and claiming: what an agent does that is not primary (R4, R5, R6, R9). What must never happen: a claim while a promise binds, a
 * promise while a claim may still land, a claim by a copy that is not in the set, a claim taken for won that was not.
 */

/** A primary that keeps crashing must lose to its standby. */
export const QUICK_CLAIM_EVERY: Millis = 600_000

export const copyOf = (state: AgentState): Copy => ({ instance: state.self.instance, copy: state.self.copy })

/** Standby, bound as if it had just promised; every way back to standby comes through here (R4). */
export function becomeStandby(state: AgentState, at: Millis): AgentState {
  return {
    ...state,
    role: { kind: 'standby' },
    view: { ...state.view, unsettled: [] },
    pledge: pledge(state.pledge, at, state.timers),
  }
}

/** It looks at the record only while nobody keeps it bound. */
export function tickStandby(state: AgentState, role: Standby, at: Millis): Step {
  const wants = role.following === undefined || role.force !== undefined || !isBound(state.pledge, at)
  return wants && mayReadAgain(state, at) ? sendRead(state, at) : stay(state)
}

export function readAsStandby(before: AgentState, role: Standby, event: EventOf<'read'>): Step {
  if (typeof event.record === 'string') return stay({ ...before, trouble: troubleOf(event.record) })
  const { trouble: _, ...rest } = before
  const state: AgentState = { ...rest, view: recordRead(before.view, event.record) }
  if (event.record.epoch < state.disk.seen) return stay({ ...state, trouble: 'RecordWentBack' })
  const quick = isHolderAgain(state, event.record) && mayClaimQuickly(state, event.wall)
  if (role.joining !== undefined) return stay(state)
  if (includes(event.record.inSync, copyOf(state)) && state.disk.complete && (quick || !isBound(state.pledge, event.at))) {
    return claim(state, event, { record: event.record, quick: quick && isBound(state.pledge, event.at) })
  }
  return role.force === undefined ? stay(state) : force(state, event, { record: event.record, force: role.force })
}

/**
 * R5: an earlier incarnation of this agent holds the record, and this disk has followed nobody since. Whatever it promised, it promised to
 * reigns that ended before its own began, so it need not wait.
 */
function isHolderAgain(state: AgentState, record: ShardRecord): boolean {
  return record.holder.instance === state.self.instance && !sameHolder(record.holder, state.self) && state.disk.seen === record.epoch
}

const mayClaimQuickly = (state: AgentState, wall: Millis): boolean => Math.abs(wall - state.disk.quickClaimAt) >= QUICK_CLAIM_EVERY

type ClaimBasis = { readonly record: ShardRecord; readonly quick: boolean }

function claim(state: AgentState, event: EventOf<'read'>, { record, quick }: ClaimBasis): Step {
  const content: RecordContent = {
    holder: { instance: state.self.instance, incarnation: state.self.incarnation },
    epoch: record.epoch + 1,
    inSync: claimedSet(record, copyOf(state), state.pledge.heardOver),
    forcedEpoch: record.forcedEpoch,
  }
  // After a quick claim too: this agent's last reign may itself have ended before the one before it was gone from its kernel.
  const planned = state.pledge.heardOver === record.epoch
  // And one of a forced reign may have ended before the longer wait that force asks for; whoever does not claim quickly has waited for a promise.
  const longer = quick && record.epoch === record.forcedEpoch ? state.timers.promise : 0
  const attachFrom = planned ? event.at : event.at + state.timers.attachWait + longer
  const disk = quick ? { ...state.disk, quickClaimAt: event.wall } : state.disk
  const sent = sendClaim({ ...state, disk }, event.at, { base: record.version, content, attachFrom })
  return quick ? { ...sent, effects: [{ kind: 'noteQuickClaim', wall: event.wall }, ...sent.effects] } : sent
}

type ForceBasis = { readonly record: ShardRecord; readonly force: Force }

/** R9: the forced copy alone is the set, and waits out every right and lifetime that a false statement would leave standing. */
function force(state: AgentState, event: EventOf<'read'>, { record, force: order }: ForceBasis): Step {
  const refused = judgeForce(state, event.at, { record, force: order })
  if (refused === 'Bound') return stay(state)
  const { force: _, ...role } = state.role as Standby
  if (refused !== undefined) return { state: { ...state, role }, effects: [{ kind: 'forceRefused', because: refused }] }
  const content: RecordContent = {
    holder: { instance: state.self.instance, incarnation: state.self.incarnation },
    epoch: record.epoch + 1,
    inSync: [copyOf(state)],
    forcedEpoch: record.epoch + 1,
  }
  const attachFrom = event.at + state.timers.promise + state.timers.attachWait
  return sendClaim(state, event.at, { base: record.version, content, attachFrom })
}

function judgeForce(state: AgentState, at: Millis, { record, force: order }: ForceBasis): ForceRefusal | undefined {
  if (order.version !== record.version) return 'OtherVersion'
  // One that is not complete claims nothing by itself, wherever it is named: it may have been forced and have died before it led.
  if (includes(record.inSync, copyOf(state)) && state.disk.complete) return 'InSet'
  if (!state.disk.complete && !order.incompleteToo) return 'Incomplete'
  return isBound(state.pledge, at) ? 'Bound' : undefined
}

type NewClaim = { readonly base: string; readonly content: RecordContent; readonly attachFrom: Millis }

/** It follows nobody from here on, so nobody can get a promise while this write may land. */
function sendClaim(state: AgentState, at: Millis, { base, content, attachFrom }: NewClaim): Step {
  const role: Claiming = { kind: 'claiming', claim: { base, content }, sentAt: at, attachFrom, won: false }
  const sent = sendWrite({ ...state, role }, at, role.claim)
  return { ...sent, effects: [{ kind: 'leave' }, ...sent.effects] }
}

export function tickClaiming(state: AgentState, role: Claiming, at: Millis): Step {
  return !role.won && mayReadAgain(state, at) ? sendRead(state, at) : stay(state)
}

/** Whatever the answer to the claim was: read. */
export function claimAnswered(state: AgentState, role: Claiming, at: Millis): Step {
  return role.won || isCalling(state, at) ? stay(state) : sendRead(state, at)
}

export function readAsClaiming(before: AgentState, role: Claiming, event: EventOf<'read'>): Step {
  if (typeof event.record === 'string') return stay({ ...becomeStandby(before, event.at), trouble: troubleOf(event.record) })
  const state: AgentState = { ...before, view: recordRead(before.view, event.record) }
  if (event.record.version === role.claim.base) {
    // It may still land, or be lost for good: the same write again, which can win only once.
    const again = event.at - role.sentAt >= state.timers.call
    return again ? sendWrite({ ...state, role: { ...role, sentAt: event.at } }, event.at, role.claim) : stay(state)
  }
  if (!isWon(state, role, event.record)) return stay(becomeStandby(state, event.at))
  return { state: { ...state, role: { ...role, won: true } }, effects: [{ kind: 'storeSeen', epoch: event.record.epoch }] }
}

/** At the epoch that it wrote: an older write of its own, of a reign it has renounced, may still name this process. */
const isWon = (state: AgentState, role: Claiming, record: ShardRecord): boolean =>
  sameHolder(record.holder, state.self) && record.epoch === role.claim.content.epoch

export function seenStored(state: AgentState, event: EventOf<'seenStored'>): Step {
  if (state.role.kind !== 'claiming' || !state.role.won || event.epoch !== state.role.claim.content.epoch) return stay(state)
  return {
    state: {
      ...state,
      disk: { ...state.disk, seen: event.epoch, complete: true },
      role: leads({ epoch: event.epoch, at: event.at, attachFrom: state.role.attachFrom }),
    },
    effects: [{ kind: 'lead', epoch: event.epoch }],
  }
}

/** R8: never a primary of a lower epoch than this disk has seen. */
export function welcomed(state: AgentState, event: EventOf<'welcomed'>): Step {
  if (state.role.kind !== 'standby' || event.epoch < state.disk.seen) return { state, effects: [{ kind: 'leave' }] }
  if (state.role.joining !== undefined) return { state, effects: [{ kind: 'leave' }] }
  return { state: { ...state, role: { ...state.role, joining: event.epoch } }, effects: [{ kind: 'follow', epoch: event.epoch }] }
}

/** A read that was sent before tells of the reigns before: taken for news it would look as if the record had gone back. */
export function following(state: AgentState, event: EventOf<'following'>): Step {
  if (state.role.kind !== 'standby') throw new Error(`a standby that joins must stay one until its log is cut, was ${state.role.kind}`)
  const { joining: _, ...role } = state.role
  return stay({
    ...giveUp(state),
    role: { ...role, following: event.epoch },
    disk: { ...state.disk, seen: Math.max(state.disk.seen, event.epoch), complete: event.complete },
    // The first beacon is on its way: no claim of a read that was sent before.
    pledge: { boundUntil: Math.max(state.pledge.boundUntil, event.at + state.timers.call), heardOver: 0 },
  })
}

/** Its disk knows no more than before, so it is as free, or as bound, as before. */
export function joinFailed(state: AgentState, event: EventOf<'joinFailed'>): Step {
  if (state.role.kind !== 'standby' || state.role.joining !== event.epoch) return stay(state)
  const { joining: _, ...role } = state.role
  return stay({ ...state, role })
}

/** R4: a follower answers each beacon of its epoch with a promise, counted from the arrival. */
export function beaconArrived(state: AgentState, event: EventOf<'beacon'>): Step {
  if (state.role.kind !== 'standby' || state.role.following !== event.epoch) return stay(state)
  return {
    state: { ...state, pledge: pledge(state.pledge, event.at, state.timers) },
    effects: [{ kind: 'promise', epoch: event.epoch, number: event.number }],
  }
}

/** R6: believed only for the highest epoch this agent knows, from its disk or from the record. */
export function overHeard(state: AgentState, event: EventOf<'over'>): Step {
  const known = state.view.known?.epoch ?? 0
  if (state.role.kind !== 'standby' || event.epoch !== state.disk.seen || known > event.epoch) return stay(state)
  const { following: _, ...role } = state.role
  const free: AgentState = { ...state, role, pledge: released(event.epoch) }
  const read = isCalling(free, event.at) ? stay(free) : sendRead(free, event.at)
  return { ...read, effects: [{ kind: 'leave' }, ...read.effects] }
}
