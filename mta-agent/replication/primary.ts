import {
  type AgentState,
  type EventOf,
  type Follower,
  type Primary,
  type RoleEffect,
  stay,
  type Step,
  type Switchover,
  troubleOf,
} from './agent-state.ts'
import { mayReadAgain, sendRead, sendWrite } from './calls.ts'
import { type Copy, effectiveSet, includes, keyOf, recordRead, sameHolder, sameSet, setOf, type ShardRecord } from './record.ts'
import { actsUntil, beaconSent, NO_RIGHTS, promiseReceived, rightUntil } from './rights.ts'
import type { Millis } from './timers.ts'

/**
 * The primary: rights, the set, the acknowledgement, the switchover (R1, R2, R3, R6, R7). What must never happen: acting on a right that
 * some copy in the effective set did not give; a 250 that such a copy has not confirmed; anything at all for an epoch that was renounced.
 */

/** A follower that lacks no more than this is counted, so that it can catch up for good. Acknowledgements then wait for it. */
export const NEAR_ENTRIES = 1_000

/**
 * A claim of a process that is no more may have landed behind the back of a pair that goes on well. The record then names others than those
 * that are in sync, which must not stay so until it is needed.
 */
export const LOOK_EVERY: Millis = 60_000

/** How long transactions may take to finish before a switchover cuts them. */
export const FINISH_WITHIN: Millis = 30_000

export function leads(reign: { readonly epoch: number; readonly at: Millis; readonly attachFrom: Millis }): Primary {
  return {
    kind: 'primary',
    epoch: reign.epoch,
    since: reign.at,
    attachFrom: reign.attachFrom,
    rights: NO_RIGHTS,
    followers: [],
    leaving: [],
    last: 0,
    synced: 0,
    lastWriteAt: Number.NEGATIVE_INFINITY,
    doubted: false,
  }
}

const countedOf = (role: Primary): readonly Copy[] => role.followers.filter((one) => one.counted !== undefined).map((one) => one.copy)

/** Everybody but this agent's own copy whose word it needs. */
export function othersOf(state: AgentState, role: Primary): readonly Copy[] {
  const { instance, copy } = state.self
  return effectiveSet(state.view, countedOf(role)).filter((one) => keyOf(one) !== keyOf({ instance, copy }))
}

export const untilOf = (state: AgentState, role: Primary): Millis => rightUntil(role.rights, othersOf(state, role), state.timers)

/** R2: fsynced here and confirmed by every other copy in the effective set, up to this sequence. */
export function committedSequence(state: AgentState, role: Primary): number {
  const confirmed = othersOf(state, role).map((copy) => followerOf(role, copy)?.confirmed ?? 0)
  return Math.min(role.synced, ...confirmed)
}

const followerOf = (role: Primary, copy: Copy): Follower | undefined => role.followers.find((one) => keyOf(one.copy) === keyOf(copy))

// Time passes.

export function tickPrimary(before: AgentState, role: Primary, event: EventOf<'tick'>): Step {
  const asking = sinceAsked(before, role, event)
  const state = { ...before, role: dropStale(before, asking, event.at) }
  const stepped = stepSwitchover(state, state.role, event.at)
  const beaconed = sendBeacon(stepped.state, event)
  const asked = askRecord(beaconed.state, event.at)
  return { state: asked.state, effects: [...stepped.effects, ...beaconed.effects, ...asked.effects] }
}

/**
 * One that hangs sends no beacons, and one that was paused has sent none: then nobody's silence means anything. A primary that took it for
 * theirs would remove the standby that is to replace it.
 */
function sinceAsked(state: AgentState, role: Primary, { at, stalledFor }: EventOf<'tick'>): Primary {
  const { stall, removeAfter } = state.timers
  const isGap = stalledFor >= stall || at - Math.max(role.since, role.rights.lastSentAt) >= removeAfter
  return isGap ? { ...role, since: at } : role
}

/** A primary whose main loop or disk hangs must lose its office. */
function sendBeacon(state: AgentState, event: EventOf<'tick'>): Step {
  if (state.role.kind !== 'primary' || event.stalledFor >= state.timers.stall) return stay(state)
  const { role } = state
  if (event.at - role.rights.lastSentAt < state.timers.beacon) return stay(state)
  return {
    state: { ...state, role: { ...role, rights: beaconSent(role.rights, event.at, state.timers) } },
    effects: [{ kind: 'beacon', epoch: role.epoch, number: role.rights.nextBeacon }],
  }
}

function askRecord(state: AgentState, at: Millis): Step {
  if (state.role.kind !== 'primary' || !mayReadAgain(state, at)) return stay(state)
  const { role } = state
  const mustKnow =
    at - state.calls.lastReadAt >= LOOK_EVERY ||
    role.doubted ||
    role.switchover?.stage === 'asked' ||
    at >= actsUntil(untilOf(state, role), state.timers)
  return mustKnow || isChangeDue(state, role, at) ? sendRead(state, at) : stay(state)
}

/** One that was to be added and has not answered: nothing was written, so it may be let go. */
function dropStale(state: AgentState, role: Primary, at: Millis): Primary {
  if (!role.followers.some((one) => one.counted && isOverdue(state, role, { copy: one.copy, at }))) return role
  const followers = role.followers.map((one) => (isOverdue(state, role, { copy: one.copy, at }) ? withoutCount(one) : one))
  return { ...role, followers }
}

// The set (R7).

/** Neither an answer to a beacon nor a confirmation for `removeAfter`; or none to be expected. */
function isOverdue(state: AgentState, role: Primary, { copy, at }: { readonly copy: Copy; readonly at: Millis }): boolean {
  if (includes(role.leaving, copy)) return true
  const follower = followerOf(role, copy)
  const answered = Math.max(role.rights.answered.get(keyOf(copy))?.at ?? 0, follower?.counted?.at ?? 0)
  const lacksSince = follower?.lacks?.since ?? Number.POSITIVE_INFINITY
  return at - Math.max(role.since, Math.min(answered, lacksSince)) >= state.timers.removeAfter
}

/** From the first beacon that was sent since it counts, and with all that was in the log before: what came after needs its word anyway. */
function isReady(role: Primary, follower: Follower): boolean {
  const { counted } = follower
  if (!counted) return false
  const answered = role.rights.answered.get(keyOf(follower.copy))
  return follower.confirmed >= counted.last && answered !== undefined && answered.number >= counted.beacon
}

/** The set to write: those who may be in it and are well, and those who are ready to be. */
export function wantedSet(state: AgentState, role: Primary, at: Millis): readonly Copy[] {
  const { instance, copy } = state.self
  const well = effectiveSet(state.view, []).filter((one) => one.copy === copy || !isOverdue(state, role, { copy: one, at }))
  const ready = role.followers.filter((one) => isReady(role, one)).map((one) => one.copy)
  return setOf([{ instance, copy }, ...well, ...ready])
}

/** An unsettled write is a reason too: another on the same version settles it. */
function isChangeDue(state: AgentState, role: Primary, at: Millis): boolean {
  return state.view.unsettled.length > 0 || !sameSet(wantedSet(state, role, at), state.view.known?.inSync ?? [])
}

export function readAsPrimary(before: AgentState, role: Primary, event: EventOf<'read'>, deposed: (state: AgentState) => Step): Step {
  const { at, record } = event
  if (typeof record === 'string') return deposed({ ...before, trouble: troubleOf(record) })
  const state: AgentState = { ...before, view: recordRead(before.view, record) }
  if (!sameHolder(record.holder, state.self) || record.epoch !== role.epoch) return deposed(withTrouble(state, role, record))
  const known: Primary = { ...role, doubted: false, followers: role.followers.map((one) => withoutNeedlessCount(one, record)) }
  const asked = known.switchover?.stage === 'asked' ? beginSwitchover(state, known, at) : { role: known, effects: [] }
  const written = writeSet({ ...state, role: asked.role }, asked.role, { at, record })
  return { state: written.state, effects: [...asked.effects, ...written.effects] }
}

/** In the set it needs no counting. */
const withoutNeedlessCount = (follower: Follower, record: ShardRecord): Follower =>
  includes(record.inSync, follower.copy) ? withoutCount(follower) : follower

function withoutCount(follower: Follower): Follower {
  if (!follower.counted) return follower
  const { counted: _, ...rest } = follower
  return rest
}

/** Deposed is ordinary. A record that is older than one's own reign, or names somebody else for it, is not. */
function withTrouble(state: AgentState, role: Primary, record: ShardRecord): AgentState {
  if (record.epoch > role.epoch) return state
  return { ...state, trouble: record.epoch < role.epoch ? 'RecordWentBack' : 'RecordContradicts' }
}

function writeSet(state: AgentState, role: Primary, { at, record }: { readonly at: Millis; readonly record: ShardRecord }): Step {
  if (!isChangeDue(state, role, at)) return stay(state)
  const inSync = wantedSet(state, role, at)
  const isRepeat = state.view.unsettled.some((write) => sameSet(write.content.inSync, inSync))
  if (isRepeat && at - role.lastWriteAt < state.timers.call) return stay(state)
  const { version: base, ...content } = record
  return sendWrite({ ...state, role: { ...role, lastWriteAt: at } }, at, { base, content: { ...content, inSync } })
}

// Followers.

export function followed(role: Primary, event: EventOf<'followed'>): Primary {
  const lacks = role.last > 0 ? { lacks: { sequence: role.last, since: event.at } } : {}
  return { ...role, followers: [...withoutFollower(role, event.copy), { copy: event.copy, confirmed: 0, complete: false, ...lacks }] }
}

/**
 * It is taken out of the set without the wait that finds one out who says nothing. Its word counts as long as the record has it, or may have it
 * (R3), and no longer: one that was to be added is let go.
 */
export const leaving = (role: Primary, event: EventOf<'leaving'>): Primary => ({
  ...role,
  leaving: setOf([...role.leaving, event.copy]),
  followers: role.followers.map((one) => (keyOf(one.copy) === keyOf(event.copy) ? withoutCount(one) : one)),
})

export const followerLeft = (role: Primary, event: EventOf<'followerLeft'>): Primary => ({
  ...role,
  followers: withoutFollower(role, event.copy),
})

const withoutFollower = (role: Primary, copy: Copy): readonly Follower[] => role.followers.filter((one) => keyOf(one.copy) !== keyOf(copy))

/** One that had said that it leaves is back: it promises only when its disk has taken the log again. */
export function promised(state: AgentState, role: Primary, event: EventOf<'promised'>): Primary {
  const leaving = role.leaving.filter((one) => keyOf(one) !== keyOf(event.copy))
  const known: Primary = { ...role, leaving, rights: promiseReceived(role.rights, event.copy, event.number) }
  return { ...known, followers: known.followers.map((one) => countIfNear(state, known, one, event)) }
}

export function confirmed(state: AgentState, role: Primary, event: EventOf<'confirmed'>): Primary {
  const follower = followerOf(role, event.copy)
  if (!follower || event.sequence < follower.confirmed) return role
  const next = countIfNear(state, role, { ...moved(role, follower, event), confirmed: event.sequence, complete: event.complete }, event)
  return { ...role, followers: role.followers.map((one) => (one === follower ? next : one)) }
}

/** What it lacks is looked at in steps: the last entry when the step before was confirmed. */
function moved(role: Primary, follower: Follower, event: EventOf<'confirmed'>): Follower {
  if (follower.lacks && event.sequence < follower.lacks.sequence) return follower
  const { lacks: _, ...rest } = follower
  return event.sequence >= role.last ? rest : { ...rest, lacks: { sequence: role.last, since: event.at } }
}

/** R7: it counts before it is added, in the effective set (R1, R2) and from the next beacon on. Not before it has promised: who acts would have to stop. */
function countIfNear(state: AgentState, role: Primary, follower: Follower, event: EventOf<'confirmed' | 'promised'>): Follower {
  if (keyOf(follower.copy) !== keyOf(event.copy) || follower.counted || !follower.complete || role.switchover) return follower
  if (includes(state.view.known?.inSync ?? [], follower.copy) || includes(role.leaving, follower.copy)) return follower
  if (role.last - follower.confirmed > NEAR_ENTRIES) return follower
  if (event.at >= actsUntil(rightUntil(role.rights, [follower.copy], state.timers), state.timers)) return follower
  return { ...follower, counted: { beacon: role.rights.nextBeacon, last: role.last, at: event.at } }
}

export function appended(role: Primary, event: EventOf<'appended'>): Primary {
  const followers = role.followers.map((one) =>
    one.lacks || one.confirmed >= event.last ? one : { ...one, lacks: { sequence: event.last, since: event.at } },
  )
  return { ...role, last: event.last, followers }
}

// Switchover (section 8).

/** Only with somebody to take over, and not before this reign has waited for the kernel of the one before: the next one will not wait. */
export function askSwitchover(state: AgentState, role: Primary, event: EventOf<'switchover'>): Step {
  if (role.switchover) return stay(state)
  if (event.at < role.attachFrom) return { state, effects: [{ kind: 'switchoverRefused', because: 'AddressesNotYetHeld' }] }
  if (!hasHeir(state, role, event.at)) return { state, effects: [{ kind: 'switchoverRefused', because: 'NoHeir' }] }
  const asked = { ...state, role: { ...role, switchover: { stage: 'asked', until: event.at + state.timers.right } as Switchover } }
  return askRecord(asked, event.at)
}

/** A copy that is in the set for certain, answers and confirms. */
function hasHeir(state: AgentState, role: Primary, at: Millis): boolean {
  const known = state.view.known?.inSync ?? []
  return othersOf(state, role).some((copy) => includes(known, copy) && followerOf(role, copy) && !isOverdue(state, role, { copy, at }))
}

type Moved = { readonly role: Primary; readonly effects: readonly RoleEffect[] }

/** A GET was answered: the heir will be able to claim. */
function beginSwitchover(state: AgentState, role: Primary, at: Millis): Moved {
  if (at >= actsUntil(untilOf(state, role), state.timers)) {
    const { switchover: _, ...rest } = role
    return { role: rest, effects: [{ kind: 'switchoverRefused', because: 'NoRight' }] }
  }
  return { role: { ...role, switchover: { stage: 'finishing', until: at + FINISH_WITHIN } }, effects: [] }
}

function stepSwitchover(state: AgentState, role: Primary, at: Millis): Step {
  const { switchover, ...rest } = role
  if (!switchover) return stay(state)
  if (!hasHeir(state, role, at) || (switchover.stage === 'asked' && at >= switchover.until)) {
    return { state: { ...state, role: rest }, effects: [{ kind: 'openListener' }, { kind: 'switchoverRefused', because: 'NoHeir' }] }
  }
  if (switchover.stage === 'finishing' && at >= switchover.until) return closing(state, role, at)
  if (switchover.stage === 'closing' && committedSequence(state, role) >= role.last) {
    return {
      state: { ...state, role: { ...role, switchover: { ...switchover, stage: 'detaching' } } },
      effects: [{ kind: 'removeAddresses' }],
    }
  }
  return stay(state)
}

function closing(state: AgentState, role: Primary, at: Millis): Step {
  return { state: { ...state, role: { ...role, switchover: { stage: 'closing', until: at } } }, effects: [{ kind: 'closeListener' }] }
}

export function transactionsEnded(state: AgentState, role: Primary, at: Millis): Step {
  return role.switchover?.stage === 'finishing' ? closing(state, role, at) : stay(state)
}

export function callOffSwitchover(state: AgentState, role: Primary): Step {
  const { switchover, ...rest } = role
  return switchover ? { state: { ...state, role: rest }, effects: [{ kind: 'openListener' }] } : stay(state)
}
