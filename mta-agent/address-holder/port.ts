import type { Family } from '#crds/addresses.ts'
import type { Millis } from './lifetimes.ts'

/** The words that agent, holder and kernel share. Times are the node's monotonic clock (`process.hrtime`), which all processes of a node share. */

export type ManagedAddress = {
  readonly address: string
  /** 32 or 128 when absent. */
  readonly prefixLength?: number
  /** When absent: that of the network which contains the address, else that of the default route. */
  readonly interface?: string
}

/**
 * What the agent has of its address holder. Nothing here outlives the deadline: whatever happens to either process, the kernel drops the
 * addresses at most KERNEL_LATE after it. The end of the agent's process removes them at once.
 */
export type AddressHolder = {
  /**
   * These and no others shall be on the node until the deadline. Addresses that were not there are asked for in the neighbourhood first, and
   * announced after. One at a time; takes about PROBE_MILLIS when there is one to be asked for. Rejects with HolderGone, or with Removed when
   * `remove` came in between.
   */
  readonly attach: (addresses: readonly ManagedAddress[], deadline: Millis) => Promise<Attachment>
  /** A new deadline for all that are there; meant to be called for each new right. What is missing in the answer must be attached again. */
  readonly extend: (deadline: Millis) => Promise<Attachment>
  /** Resolves when none of the addresses that were ever attached through this is on the node. Rejects with AddressesUncertain. */
  readonly remove: () => Promise<void>
}

export type Attachment = { readonly held: readonly string[]; readonly refused: readonly Refusal[] }

export type Refusal = { readonly address: string; readonly reason: RefusalReason; readonly message: string }

/** InUse: another machine answers for it. TooLate: the deadline has come. Failed: the kernel refused. */
export type RefusalReason = 'InUse' | 'AlreadyThere' | 'FirstOnInterface' | 'NoInterface' | 'TooLate' | 'Failed'

/** A managed address with everything decided. */
export type Placed = {
  readonly address: string
  readonly family: Family
  readonly prefixLength: number
  readonly interface: string
  /** Not so on loopback and tunnels: nobody there to ask or to tell. */
  readonly hasNeighbours: boolean
}

/** An address as the kernel has it. */
export type Attached = {
  readonly address: string
  readonly prefixLength: number
  /** Infinity: it does not end. */
  readonly secondsLeft: number
}

export type NetworkInterface = {
  readonly name: string
  readonly isUp: boolean
  readonly hasNeighbours: boolean
  /** Of the whole world's scope; link-local ones are nobody's source. */
  readonly addresses: readonly Attached[]
}

export type NetworkView = {
  readonly interfaces: readonly NetworkInterface[]
  readonly defaultInterface: Readonly<Partial<Record<Family, string>>>
}

/** How the holder reaches the kernel. One call at a time; a call that fails leaves it open what was done. */
export type Kernel = {
  readonly look: () => Promise<NetworkView>
  /** Adds what is not there. */
  readonly setLifetimes: (addresses: readonly Placed[], seconds: number) => Promise<readonly Refusal[]>
  /** Those that are not there are no fault. */
  readonly remove: (addresses: readonly Placed[]) => Promise<void>
  /** Asks the neighbourhood for them. */
  readonly solicit: (addresses: readonly Placed[]) => Promise<void>
  /** Who answered since. */
  readonly answers: (addresses: readonly Placed[]) => Promise<readonly { readonly address: string; readonly linkAddress: string }[]>
}
