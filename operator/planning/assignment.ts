import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance, SourceAddress } from '#crds/mta-instance.ts'
import { mayRelease } from './address-users.ts'
import type { FleetSnapshot } from './snapshot.ts'

/** Who asks for addresses, and what comes of it. */

/** An instance that is to have addresses. */
export type Claimant = {
  readonly name: string
  readonly shard: number
  /** Undefined: not made yet. */
  readonly instance: MTAInstance | undefined
  /** Receives: takes its share. Keeps: has what it has, at most its share, and gets nothing more, for it is on its way out. */
  readonly part: 'Receives' | 'Keeps'
}

export type Shortage = {
  readonly reason:
    | 'VolumeElsewhere'
    | 'PoolExhausted'
    | 'NoNodeFits'
    | 'NodeNotFound'
    | 'NodeNotInPool'
    | 'AddressesInUse'
    | 'AddressConflict'
  readonly message: string
}

export type Attachment = IPPool['spec']['attachment']

export type Assignment = {
  readonly nodeName: string | undefined
  readonly addresses: readonly SourceAddress[]
  readonly attachment: Attachment
  /** Why there is no address; absent when there is one. */
  readonly shortage?: Shortage
}

export const attachmentOf = (instance: MTAInstance): Attachment => instance.spec.addressAttachment ?? 'Existing'

/** As the pool describes them now, and after them what the instance would lose, but its agent is not ready to be told. */
export function listAddresses(
  fleet: FleetSnapshot,
  pool: IPPool,
  instance: MTAInstance | undefined,
  given: readonly string[],
): readonly SourceAddress[] {
  const entries = new Map(pool.spec.addresses.map((entry) => [entry.address, entry]))
  const described = given.flatMap((address): SourceAddress[] => {
    const entry = entries.get(address)
    if (entry === undefined) return []
    const { nodeName: _, ...source } = entry
    return [source]
  })
  const overdue =
    instance === undefined || mayRelease(fleet, instance) ? [] : instance.spec.addresses.filter(({ address }) => !given.includes(address))
  return [...described, ...overdue]
}
