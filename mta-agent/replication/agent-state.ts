import type { Copy, Holder, RecordContent, RecordView, RecordWrite, ShardRecord } from './record.ts'
import type { Pledge, Rights } from './rights.ts'
import type { Millis, Timers } from './timers.ts'

/** What one agent knows of its shard, what can happen to it, and what it asks of its shell. The moves are in role.ts. */

export type Self = Holder & Copy

export type AgentState = {
  readonly self: Self
  readonly timers: Timers
  /** Strict: a set of one acknowledges nothing new. */
  readonly durability: 'Strict' | 'Available'
  readonly disk: DiskFacts
  readonly view: RecordView
  readonly calls: Calls
  /** Of one who is not primary: until when it may not claim. */
  readonly pledge: Pledge
  readonly role: Role
  /** Why the record cannot be worked with; a person must look. */
  readonly trouble?: RecordTrouble
}

/** What this agent's volume says, as far as it matters here. */
export type DiskFacts = {
  /** The highest epoch that this disk has followed or led. */
  readonly seen: number
  /** False while a full copy is under way. */
  readonly complete: boolean
  /** Wall clock of the last quick claim after a restart; 0: none. Only how often is decided from it, never who may act. */
  readonly quickClaimAt: Millis
}

/** Calls to the API server, one at a time: an answer to a call that was given up is nothing. */
export type Calls = {
  readonly next: number
  readonly open?: { readonly id: number; readonly kind: 'read' | 'write'; readonly at: Millis }
  readonly lastReadAt: Millis
}

export type RecordTrouble = 'RecordMissing' | 'RecordUnreadable' | 'RecordWentBack' | 'RecordContradicts'

/** What a GET may show instead of a record. Nothing is done from either: the shard's agents stop, and a person must look. */
export type NoRecord = 'missing' | 'unreadable'

export type Role = Standby | Claiming | Primary

export type Standby = {
  readonly kind: 'standby'
  /** Epoch of the session it follows in. */
  readonly following?: number
  /** The cut of its log for this epoch is on its way to the disk: no claim before it is there. */
  readonly joining?: number
  /** The admin's word that the old primary is down (R9), about this version of the record. */
  readonly force?: Force
}

export type Force = { readonly version: string; readonly incompleteToo: boolean }

export type Claiming = {
  readonly kind: 'claiming'
  readonly claim: RecordWrite
  readonly sentAt: Millis
  readonly attachFrom: Millis
  /** It reads as won; `seen` is on its way to the disk. */
  readonly won: boolean
}

export type Primary = {
  readonly kind: 'primary'
  readonly epoch: number
  /** Since when followers are asked without a gap: one that was not asked is not late. */
  readonly since: Millis
  /** Addresses not before this. */
  readonly attachFrom: Millis
  readonly rights: Rights
  readonly followers: readonly Follower[]
  /** Those that have said that they leave, and have promised nothing since. */
  readonly leaving: readonly Copy[]
  /** Sequence of the last entry here, and of the last that is fsynced here. */
  readonly last: number
  readonly synced: number
  readonly lastWriteAt: Millis
  readonly switchover?: Switchover
  /** Somebody named a higher epoch: read the record soon. */
  readonly doubted: boolean
}

/** A copy with a session of this epoch. */
export type Follower = {
  readonly copy: Copy
  readonly confirmed: number
  /** False until it has said that no full copy is under way. */
  readonly complete: boolean
  /** The oldest entry it is known to lack, and since when. */
  readonly lacks?: { readonly sequence: number; readonly since: Millis }
  /** Counted as if in the set, to be added (R7): from this beacon on, with this much of the log. */
  readonly counted?: { readonly beacon: number; readonly last: number; readonly at: Millis }
}

/** Section 8: asked → finishing (no new transactions) → closing (no new mail, all confirmed) → detaching (addresses). */
export type Switchover = { readonly stage: 'asked' | 'finishing' | 'closing' | 'detaching'; readonly until: Millis }

export type RoleEvent =
  /** Time has passed. `stalledFor`: how long the main loop or an fsync has not moved. */
  | { readonly kind: 'tick'; readonly at: Millis; readonly stalledFor: Millis }
  | { readonly kind: 'read'; readonly at: Millis; readonly wall: Millis; readonly call: number; readonly record: ShardRecord | NoRecord }
  /** A write was answered in any way, or a call failed. What it came to is never taken from here (R3). */
  | { readonly kind: 'callEnded'; readonly at: Millis; readonly call: number }
  | { readonly kind: 'seenStored'; readonly at: Millis; readonly epoch: number }
  // At a standby.
  | { readonly kind: 'welcomed'; readonly at: Millis; readonly epoch: number }
  /** `seen` is on the disk, the tail is cut: this is a follower now. Comes also when the session has ended meanwhile; `sessionEnded` follows then. */
  | { readonly kind: 'following'; readonly at: Millis; readonly epoch: number; readonly complete: boolean }
  /** Instead of `following`: there was no log to take, and nothing of it is on this disk or will be. */
  | { readonly kind: 'joinFailed'; readonly at: Millis; readonly epoch: number }
  | { readonly kind: 'completed'; readonly at: Millis }
  | { readonly kind: 'sessionEnded'; readonly at: Millis }
  | { readonly kind: 'beacon'; readonly at: Millis; readonly epoch: number; readonly number: number }
  | { readonly kind: 'over'; readonly at: Millis; readonly epoch: number }
  | { readonly kind: 'force'; readonly at: Millis; readonly force: Force }
  // At a primary.
  | { readonly kind: 'followed'; readonly at: Millis; readonly copy: Copy }
  | { readonly kind: 'leaving'; readonly at: Millis; readonly copy: Copy }
  | { readonly kind: 'followerLeft'; readonly at: Millis; readonly copy: Copy }
  | { readonly kind: 'promised'; readonly at: Millis; readonly copy: Copy; readonly number: number }
  | { readonly kind: 'confirmed'; readonly at: Millis; readonly copy: Copy; readonly sequence: number; readonly complete: boolean }
  | { readonly kind: 'appended'; readonly at: Millis; readonly last: number }
  | { readonly kind: 'synced'; readonly at: Millis; readonly sequence: number }
  | { readonly kind: 'higherEpoch'; readonly at: Millis; readonly epoch: number }
  | { readonly kind: 'switchover'; readonly at: Millis }
  | { readonly kind: 'switchoverCalledOff'; readonly at: Millis }
  | { readonly kind: 'transactionsEnded'; readonly at: Millis }
  | { readonly kind: 'addressesRemoved'; readonly at: Millis }

export type EventOf<K extends RoleEvent['kind']> = Extract<RoleEvent, { readonly kind: K }>

/** To be carried out in the order given, each before anything else happens. */
export type RoleEffect =
  | { readonly kind: 'read'; readonly call: number }
  | { readonly kind: 'write'; readonly call: number; readonly base: string; readonly content: RecordContent }
  /** On the disk before the next effect. */
  | { readonly kind: 'noteQuickClaim'; readonly wall: Millis }
  /** fsync it, and that the copy is complete (a leader's log is the whole log, also that of a copy that was forced), then `seenStored`. */
  | { readonly kind: 'storeSeen'; readonly epoch: number }
  /** Take the primary's log (follow.ts), fsync `seen`, then `following`; or `joinFailed`. */
  | { readonly kind: 'follow'; readonly epoch: number }
  /** End the session to the primary. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'promise'; readonly epoch: number; readonly number: number }
  /** To every follower. */
  | { readonly kind: 'beacon'; readonly epoch: number; readonly number: number }
  /** Stop acting, end all sessions of followers, answer nothing more for this epoch. */
  | { readonly kind: 'stepDown'; readonly epoch: number }
  | { readonly kind: 'lead'; readonly epoch: number }
  | { readonly kind: 'closeListener' }
  | { readonly kind: 'removeAddresses' }
  | { readonly kind: 'openListener' }
  /** Say to every follower that the epoch is over, then `stepDown`. */
  | { readonly kind: 'sayOver'; readonly epoch: number; readonly last: number }
  | { readonly kind: 'switchoverRefused'; readonly because: SwitchoverRefusal }
  | { readonly kind: 'forceRefused'; readonly because: ForceRefusal }

export type SwitchoverRefusal = 'NotPrimary' | 'NoHeir' | 'AddressesNotYetHeld' | 'NoRight'
export type ForceRefusal = 'NotStandby' | 'Bound' | 'OtherVersion' | 'InSet' | 'Incomplete' | 'RecordWentBack'

export type Step = { readonly state: AgentState; readonly effects: readonly RoleEffect[] }
export const stay = (state: AgentState): Step => ({ state, effects: [] })

export const troubleOf = (record: NoRecord): RecordTrouble => (record === 'missing' ? 'RecordMissing' : 'RecordUnreadable')
