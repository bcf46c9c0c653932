import type { IPPool, PoolAddress } from '#crds/ip-pool.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { rivalPools } from './accept-pool.ts'
import { formatUsers, mayRelease, type Users, usersOfAddresses } from './address-users.ts'
import { planManagedAssignments } from './assign-managed.ts'
import { type Assignment, attachmentOf, type Claimant, listAddresses, type Shortage } from './assignment.ts'
import { type Ground, placeClaimants } from './place-claimants.ts'
import type { Place } from './place-instance.ts'
import { countSeats, type Party, shareAddresses } from './share-addresses.ts'
import { findObject, type FleetSnapshot, formatName } from './snapshot.ts'

/**
 * Which instance sends from which source address. What must never break: an address is one sender's, which is an instance or, where addresses are
 * managed, a shard; and where they are not, an instance has addresses of one node.
 */

/** The assignment of every claimant, by name. */
export function planAssignments(
  fleet: FleetSnapshot,
  stream: SendingStream,
  pool: IPPool,
  claimants: readonly Claimant[],
): ReadonlyMap<string, Assignment> {
  // The whole shard waits, so that nobody is placed beside one that is not looked at.
  const old = new Set(claimants.filter((claimant) => hasOldAddresses(claimant, pool)).map(({ shard }) => shard))
  const isOfOld = ({ shard }: Claimant): boolean => old.has(shard)
  const planned = pool.spec.attachment === 'Managed' ? planManagedAssignments : planExistingAssignments
  return new Map([
    ...planned(
      fleet,
      stream,
      pool,
      claimants.filter((claimant) => !isOfOld(claimant)),
    ),
    ...claimants.filter(isOfOld).map((claimant) => [claimant.name, letGo(fleet, pool, claimant)] as const),
  ])
}

/**
 * Whether its addresses came to it in another way than the pool has them now, which is another one of that name. They are let go first, for the same
 * address may be the administrator's on one node and ours on another.
 */
const hasOldAddresses = ({ instance }: Claimant, pool: IPPool): boolean =>
  instance !== undefined &&
  attachmentOf(instance) !== pool.spec.attachment &&
  instance.spec.addresses.length + (instance.status?.agent?.addresses?.length ?? 0) > 0

function letGo(fleet: FleetSnapshot, { metadata, spec }: IPPool, { instance }: Claimant): Assignment {
  const addresses = instance === undefined || mayRelease(fleet, instance) ? [] : instance.spec.addresses
  const attachment = instance === undefined ? spec.attachment : attachmentOf(instance)
  const message = `attachment of IPPool '${metadata.name}' was ${attachment} and is ${spec.attachment}: waiting until the agent has let go`
  const shortage = addresses.length > 0 ? {} : { shortage: { reason: 'AddressesInUse', message } as const }
  return { nodeName: instance?.spec.nodeName, addresses, attachment, ...shortage }
}

function planExistingAssignments(
  fleet: FleetSnapshot,
  stream: SendingStream,
  pool: IPPool,
  claimants: readonly Claimant[],
): ReadonlyMap<string, Assignment> {
  const users = usersOfAddresses(fleet, pool)
  const places = placeClaimants(fleet, stream, groundOf(fleet, pool), claimants)
  const given = new Map<string, readonly string[]>()
  for (const [nodeName, parties] of partiesByNode(fleet, pool, places, claimants)) {
    const entries = entriesOn(pool, nodeName).filter((entry) => isAvailable(fleet, pool, entry, parties))
    const available = entries.map(({ address }) => address)
    for (const [name, addresses] of shareAddresses(available, parties, users)) given.set(name, addresses)
  }
  return new Map(
    claimants.map(({ name, instance }) => {
      const place = places.get(name)
      const addresses = listAddresses(fleet, pool, instance, given.get(name) ?? [])
      const nodeName = place?.kind === 'node' ? place.nodeName : undefined
      const shortage = addresses.length > 0 ? {} : { shortage: explainShortage(fleet, pool, place, users) }
      return [name, { nodeName, addresses, attachment: 'Existing', ...shortage }]
    }),
  )
}

const entriesOn = (pool: IPPool, nodeName: string): readonly PoolAddress[] =>
  pool.spec.addresses.filter((entry) => entry.nodeName === nodeName)

/** A node takes as many instances as it has addresses, for each must have one of its own. */
function groundOf(fleet: FleetSnapshot, pool: IPPool): Ground {
  const names = [...new Set(pool.spec.addresses.flatMap(({ nodeName }) => nodeName ?? []))].toSorted()
  const capacities = names.map((nodeName) => {
    const usable = entriesOn(pool, nodeName).filter(({ address }) => rivalPools(fleet, pool, address).length === 0)
    return [nodeName, countSeats(usable.map(({ address }) => address))] as const
  })
  const words = {
    none: 'no node of the pool has an address left for it',
    empty: 'the pool names no node',
    elsewhere: 'where the pool has no address',
  }
  return { capacities: new Map(capacities), words }
}

function partiesByNode(
  fleet: FleetSnapshot,
  pool: IPPool,
  places: ReadonlyMap<string, Place>,
  claimants: readonly Claimant[],
): ReadonlyMap<string, readonly Party[]> {
  const byNode = new Map<string, Party[]>()
  for (const claimant of claimants) {
    const place = places.get(claimant.name)
    if (place?.kind !== 'node') continue
    const party = partyOf(fleet, pool, claimant, place.nodeName)
    byNode.set(place.nodeName, [...(byNode.get(place.nodeName) ?? []), party])
  }
  return byNode
}

function partyOf(fleet: FleetSnapshot, pool: IPPool, { name, shard, part, instance }: Claimant, nodeName: string): Party {
  const bound = new Set(instance?.spec.addresses.map((entry) => entry.address) ?? [])
  const held = entriesOn(pool, nodeName)
    .map(({ address }) => address)
    .filter((address) => bound.has(address))
  const instances = new Set(instance === undefined ? [] : [formatName(instance)])
  return { name, shard, part, held, releases: mayRelease(fleet, instance), instances }
}

/** What is bound stays bound: neither a vanished Node nor a rival pool, which may be anybody's mistake, takes an address from a sender. */
const isAvailable = (fleet: FleetSnapshot, pool: IPPool, { address, nodeName = '' }: PoolAddress, parties: readonly Party[]): boolean =>
  parties.some(({ held }) => held.includes(address)) ||
  (rivalPools(fleet, pool, address).length === 0 && findObject(fleet.nodes, undefined, nodeName) !== undefined)

function explainShortage(fleet: FleetSnapshot, pool: IPPool, place: Place | undefined, users: Users): Shortage {
  if (place === undefined) return { reason: 'PoolExhausted', message: 'it has no node, and none is looked for while it is on its way out' }
  if (place.kind === 'none') return { reason: place.because, message: place.message }
  const { nodeName } = place
  const entries = entriesOn(pool, nodeName)
  if (entries.length === 0) {
    return {
      reason: 'NodeNotInPool',
      message: `IPPool '${pool.metadata.name}' has no address on node '${nodeName}', where the queue volume is`,
    }
  }
  if (findObject(fleet.nodes, undefined, nodeName) === undefined) {
    return { reason: 'NodeNotFound', message: `node '${nodeName}' does not exist` }
  }
  const rivals = entries.flatMap((entry) => rivalPools(fleet, pool, entry.address).map((other) => `${entry.address} (IPPool '${other}')`))
  if (rivals.length === entries.length) {
    return { reason: 'AddressConflict', message: `every address on node '${nodeName}' is named by another pool too: ${rivals.join(', ')}` }
  }
  const inUse = formatUsers(
    users,
    entries.map(({ address }) => address),
  )
  return { reason: 'AddressesInUse', message: `waiting until the agents on node '${nodeName}' have let go: ${inUse}` }
}
