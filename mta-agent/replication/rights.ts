import { type Copy, keyOf } from './record.ts'
import type { Millis, Timers } from './timers.ts'

/**
 * Promises in, right to act out (R1, R4). The primary sends numbered beacons; each answer is a standby's promise not to claim, and gives a
 * right counted from just before the beacon was sent. The standby counts its promise from when the beacon arrived. So a right always ends
 * before the promise it rests on. What must never happen: a right counted from an answer, or from one standby where two could claim.
 *
 *   primary                                        standby
 *   beaconSent(at) ── beacon n ──────────────────▶ boundUntil = arrival + promise
 *   until = sent(n) + right ◀──────── promise n ──
 */
export type Rights = {
  readonly nextBeacon: number
  /** −Infinity before the first. */
  readonly lastSentAt: Millis
  /** Beacons that an answer may still come to, oldest first; one older than `right` is worth nothing. */
  readonly sent: readonly Beacon[]
  /** By copy: the latest beacon it answered. */
  readonly answered: ReadonlyMap<string, Beacon>
}
export type Beacon = { readonly number: number; readonly at: Millis }

export const NO_RIGHTS: Rights = { nextBeacon: 1, lastSentAt: Number.NEGATIVE_INFINITY, sent: [], answered: new Map() }

/** `at` is noted before the beacon leaves. */
export function beaconSent(rights: Rights, at: Millis, timers: Timers): Rights {
  const young = rights.sent.filter((beacon) => at - beacon.at < timers.right)
  return {
    ...rights,
    nextBeacon: rights.nextBeacon + 1,
    lastSentAt: at,
    sent: [...young, { number: rights.nextBeacon, at }],
  }
}

/** An answer to an unknown number is nothing; a late one never takes back a newer. */
export function promiseReceived(rights: Rights, copy: Copy, number: number): Rights {
  const beacon = rights.sent.find((one) => one.number === number)
  const before = rights.answered.get(keyOf(copy))
  if (!beacon || (before && before.number >= number)) return rights
  return { ...rights, answered: new Map([...rights.answered, [keyOf(copy), beacon]]) }
}

/** When the right ends: the earliest of all who could claim. Nobody who could: never. One who has not promised: it never began. */
export function rightUntil(rights: Rights, others: readonly Copy[], timers: Timers): Millis {
  const ends = others.map((copy) => endOfRight(rights, copy, timers))
  return Math.min(Number.POSITIVE_INFINITY, ...ends)
}

function endOfRight(rights: Rights, copy: Copy, timers: Timers): Millis {
  const beacon = rights.answered.get(keyOf(copy))
  return beacon ? beacon.at + timers.right : Number.NEGATIVE_INFINITY
}

/** Acting stops `stop` before the right ends, so that what runs can be closed in time. */
export const actsUntil = (until: Millis, timers: Timers): Millis => until - timers.stop

/**
 * The lifetime to give the kernel for each address: what remains of the right, in whole seconds; 0: remove it. A shard that needs nobody
 * gets `right`, because a standby that is added has promised afresh for at least as long (R7).
 */
export function addressLifetimeSeconds(until: Millis, at: Millis, timers: Timers): number {
  return Math.max(0, Math.floor(Math.min(until - at, timers.right) / 1_000))
}

/** The standby's side of it: until when it may not claim. Never shortened but by R6. */
export type Pledge = {
  readonly boundUntil: Millis
  /** The epoch whose primary has said that it is over, until the next promise; 0: none. */
  readonly heardOver: number
}

/** Given, or to be taken as given: at a start, after renouncing, after being demoted and after a claim that lost (R4). */
export function pledge(before: Pledge | undefined, at: Millis, timers: Timers): Pledge {
  return { boundUntil: Math.max(before?.boundUntil ?? Number.NEGATIVE_INFINITY, at + timers.promise), heardOver: 0 }
}

/** The primary of the highest epoch known here is no more, by its own word (R6). */
export const released = (epoch: number): Pledge => ({ boundUntil: Number.NEGATIVE_INFINITY, heardOver: epoch })

export const isBound = (pledge: Pledge, at: Millis): boolean => at < pledge.boundUntil
