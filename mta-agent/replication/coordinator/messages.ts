import type { Copy, Holder } from '#agent/contract/record.ts'
import type { AcceptRefusal } from '../role.ts'
import type { DiskFacts, ForceRefusal, RecordTrouble, Self, SwitchoverRefusal } from '../agent-state.ts'
import type { Millis } from '../timers.ts'

/**
 * What the main thread and the coordinator say to each other. Both ports keep the order, so a message is about what was said before it; each that
 * could arrive in another reign or session than it was meant for names it, and is nothing there.
 *
 * A **session** is one beacon link and one log link between the same two processes, within one epoch. The coordinator makes the number (one count for
 * both directions, never used again in a process) and ends every session; the main thread owns the log link and says when that has ended.
 *
 *   standby:  follow ──▶ log link opened, tail cut, `seen` fsynced ──▶ logJoined … logLinkEnded
 *                     └▶ no link, or refused: nothing is changed on the disk ──▶ logLinkEnded alone
 *   primary:  followerJoined ──▶ the other side's log link comes with this token ──▶ confirmed … logLinkEnded
 *   both:     sessionEnded: close the log link, and take nothing more from it; logLinkEnded follows here too, exactly once for each session
 *
 * The main thread does what it is told in the order in which it is told: what comes after `sessionEnded` finds nothing of that session under way.
 */

/** Another instance of the shard and where it listens. */
export type PeerAddress = { readonly instance: string; readonly address: string; readonly logPort: number; readonly beaconPort: number }

/** How the API server is found. In a Pod: the two variables that every Pod has. */
export type ApiAccess =
  | { readonly kind: 'pod'; readonly environment: Readonly<Record<string, string | undefined>> }
  | { readonly kind: 'kubeconfig'; readonly path: string }

/** How clients find the primary: what it writes into the shard's EndpointSlice. */
export type Endpoint = {
  readonly address: string
  readonly nodeName?: string
  readonly ports: readonly { readonly name: string; readonly port: number }[]
}

/** Of a process whose store is open and verified; handed to the thread when it starts. */
export type CoordinatorSettings = {
  readonly namespace: string
  readonly stream: string
  readonly self: Self
  readonly timing: 'Default' | 'Fast'
  readonly durability: 'Strict' | 'Available'
  readonly disk: DiskFacts
  readonly recordName: string
  readonly endpointSliceName: string
  readonly endpoint: Endpoint
  readonly peers: readonly PeerAddress[]
  /** Where the beacon link is listened on; port 0: any free one, named in `listening`. */
  readonly listen: { readonly address: string; readonly port: number }
  /** tls.crt, tls.key and ca.crt. */
  readonly certificateDirectory: string
  readonly api: ApiAccess
  /** See shared-cell.ts. */
  readonly cell: SharedArrayBuffer
}

export type ToCoordinator =
  // As a standby.
  /** The tail is cut, `seen` is on the disk. Also when the session has ended meanwhile. `complete`: false while a full copy is under way. */
  | { readonly kind: 'logJoined'; readonly session: number; readonly epoch: number; readonly complete: boolean }
  /** The full copy is whole, on the disk. */
  | { readonly kind: 'completed' }
  // As both.
  /** `DiskFull`, as the standby: it takes nothing more, which the primary shall hear. */
  | { readonly kind: 'logLinkEnded'; readonly session: number; readonly because?: 'DiskFull' }
  // As the primary.
  /** The follower has fsynced all up to here. */
  | { readonly kind: 'confirmed'; readonly session: number; readonly sequence: number; readonly complete: boolean }
  /** The last entry of the log when leading begins; from then on `synced` says it. */
  | { readonly kind: 'appended'; readonly epoch: number; readonly last: number }
  | { readonly kind: 'synced'; readonly epoch: number; readonly sequence: number }
  /** A switchover finishes: no transaction runs any more. */
  | { readonly kind: 'transactionsEnded'; readonly epoch: number }
  /** Nothing is appended for this epoch after it, all that was is committed, and the kernel has none of the addresses. */
  | { readonly kind: 'addressesRemoved'; readonly epoch: number }
  // Answers of the disk.
  | { readonly kind: 'seenStored'; readonly epoch: number }
  | { readonly kind: 'quickClaimNoted'; readonly wall: Millis }
  // Orders from outside. A switchover of another epoch than is led here now is nothing.
  | { readonly kind: 'switchover'; readonly epoch: number }
  | { readonly kind: 'switchoverCalledOff'; readonly epoch: number }
  | { readonly kind: 'force'; readonly recordVersion: string; readonly incompleteToo: boolean }
  | { readonly kind: 'peers'; readonly peers: readonly PeerAddress[] }
  | { readonly kind: 'endpoint'; readonly endpoint: Endpoint }
  /** Ends all sessions, then the thread. A primary does not renounce by it. */
  | { readonly kind: 'stop' }

export type FromCoordinator =
  | { readonly kind: 'listening'; readonly port: number }
  // As a standby.
  /** Open the log link and take the primary's log (R8). `forcedEpoch`: as the primary's record says. */
  | {
      readonly kind: 'follow'
      readonly session: number
      readonly epoch: number
      readonly token: string
      readonly peer: PeerAddress
      readonly forcedEpoch: number
    }
  // As the primary.
  /** A log link with this token, from this instance, is the other half of a session. */
  | { readonly kind: 'followerJoined'; readonly session: number; readonly epoch: number; readonly copy: Copy; readonly token: string }
  // As both.
  | { readonly kind: 'sessionEnded'; readonly session: number }
  // Reigns.
  /** `seen` is on the disk already: begin the epoch, open the listener, say `appended` and `synced`. Act when the cell says so. */
  | { readonly kind: 'lead'; readonly epoch: number; readonly forcedEpoch: number }
  /** The cell says so already. Nothing of this epoch is answered with 250 any more; the addresses go. */
  | { readonly kind: 'stepDown'; readonly epoch: number }
  /** fsync it, and that the copy is complete (a leader's log is the whole log), then `seenStored`. */
  | { readonly kind: 'storeSeen'; readonly epoch: number }
  /** fsync, then `quickClaimNoted`. The coordinator waits for it. */
  | { readonly kind: 'noteQuickClaim'; readonly wall: Millis }
  /**
   * R2: all entries of the epoch up to here are committed, and their clients are to be told so: inSync and alone 250, refuse 452. Only rises
   * within an epoch. One message, because how many have it and how far must be of the same moment.
   */
  | {
      readonly kind: 'committed'
      readonly epoch: number
      readonly sequence: number
      readonly how: 'inSync' | 'alone' | 'refuse'
    }
  // Switchover.
  /** Let the transactions that run finish, begin no other (the cell says so too), then `transactionsEnded`. */
  | { readonly kind: 'finishTransactions'; readonly epoch: number }
  /** 421 to all clients; transactions that still run are cut. */
  | { readonly kind: 'closeListener' }
  /** Called off: accept and begin transactions again. */
  | { readonly kind: 'openListener' }
  | { readonly kind: 'removeAddresses' }
  | { readonly kind: 'switchoverRefused'; readonly because: SwitchoverRefusal }
  | { readonly kind: 'forceRefused'; readonly because: ForceRefusal }
  // For people.
  | { readonly kind: 'status'; readonly status: ReplicationFacts }
  | {
      readonly kind: 'told'
      readonly level: 'info' | 'warn' | 'error'
      readonly message: string
      readonly facts: Readonly<Record<string, unknown>>
    }

/** Sent when something in it has changed. */
export type ReplicationFacts = {
  readonly role: 'Primary' | 'Standby' | 'Claiming'
  /** The highest that this disk has followed or led. */
  readonly epoch: number
  /** As the record said last; undefined before the first answer. */
  readonly record:
    | { readonly version: string; readonly holder: Holder; readonly inSync: readonly Copy[]; readonly forcedEpoch: number }
    | undefined
  /** Of a standby: whom it follows. */
  readonly following: string | undefined
  /** Of a primary. `needed`: its word is needed now to act and to acknowledge. */
  readonly followers: readonly {
    readonly copy: Copy
    readonly confirmed: number
    readonly complete: boolean
    readonly needed: boolean
  }[]
  /** Whether new mail is to be taken in, or the reason why not. */
  readonly accepting: 'accept' | AcceptRefusal
  /** What is acknowledged now is on one disk only. */
  readonly acceptingAlone: boolean
  readonly trouble: RecordTrouble | undefined
  /** Addresses not before this (monotonic clock); undefined for one who does not lead. */
  readonly attachFrom: Millis | undefined
  readonly switchover: 'asked' | 'finishing' | 'closing' | 'detaching' | undefined
  readonly lastChange: LastChange | undefined
}

/** How this process became primary the last time. */
export type LastChange = {
  readonly reason: 'PrimaryLost' | 'Switchover' | 'Restarted' | 'Forced'
  /** Of a forced one: what was promoted. */
  readonly copy?: 'Complete' | 'Incomplete'
  /** Wall clock, when it began to act. */
  readonly at: Millis
  /** From the last sign of life of the primary before, or from this process's start, until it acted. */
  readonly durationMillis: Millis
}
