import type { IPPool } from '#crds/ip-pool.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { rivalPools } from './accept-pool.ts'
import { formatUsers, type Users, usersOfAddresses } from './address-users.ts'
import { type Assignment, type Claimant, listAddresses, type Shortage } from './assignment.ts'
import { type Ground, placeClaimants } from './place-claimants.ts'
import { lacksLabel, type Place } from './place-instance.ts'
import { countSeats, familyOf, type Party, shareAddresses } from './share-addresses.ts'
import { byName, type FleetSnapshot, formatName } from './snapshot.ts'

/**
 * Addresses that go with the role (attachment Managed): they are shared out among the shards of the stream, and every instance of a shard has the
 * same ones in its spec. Which of them has them on its node now is between the agents and their record. What must never break: an address is one
 * shard's, so it moves to another only when every instance of the old one has let it go.
 */
export function planManagedAssignments(
  fleet: FleetSnapshot,
  stream: SendingStream,
  pool: IPPool,
  claimants: readonly Claimant[],
): ReadonlyMap<string, Assignment> {
  const users = usersOfAddresses(fleet, pool)
  const shards = [...Map.groupBy(claimants, ({ shard }) => shard)].map(([shard, members]) => partyOf(pool, shard, members))
  const available = pool.spec.addresses
    .map(({ address }) => address)
    .filter((address) => rivalPools(fleet, pool, address).length === 0 || shards.some(({ held }) => held.includes(address)))
  const seated = chooseSeated(available, shards)
  const given = shareAddresses(available, seated, users)
  const isSeated = ({ shard }: Claimant): boolean => seated.some((party) => party.shard === shard)
  const places = placeClaimants(fleet, stream, groundOf(fleet, pool), claimants.filter(isSeated))
  return new Map(
    claimants.map((claimant) => {
      const { name, shard, instance } = claimant
      const place = places.get(name)
      const addresses = listAddresses(fleet, pool, instance, place?.kind === 'node' ? (given.get(nameOf(shard)) ?? []) : [])
      const shortage = isSeated(claimant) ? explainShortage(fleet, pool, place, users) : explainExhausted(pool, available, shards)
      // One that waits for its turn stays where it is: its mail may be there.
      const nodeName = place?.kind === 'node' ? place.nodeName : isSeated(claimant) ? undefined : instance?.spec.nodeName
      return [name, { nodeName, addresses, attachment: 'Managed', ...(addresses.length > 0 ? {} : { shortage }) }]
    }),
  )
}

const nameOf = (shard: number): string => `shard ${shard}`

function partyOf(pool: IPPool, shard: number, members: readonly Claimant[]): Party {
  const instances = members.flatMap(({ instance }) => instance ?? [])
  const bound = new Set(instances.flatMap(({ spec }) => spec.addresses.map(({ address }) => address)))
  return {
    name: nameOf(shard),
    shard,
    part: members.some(({ part }) => part === 'Receives') ? 'Receives' : 'Keeps',
    held: pool.spec.addresses.map(({ address }) => address).filter((address) => bound.has(address)),
    // Each instance lets go when its own agent is ready to be told: until then it has them beside what the shard has.
    releases: true,
    instances: new Set(instances.map(formatName)),
  }
}

/** Every shard must have an address. Those that have one already come first, for one that sends must not be stopped for one that is new. */
function chooseSeated(available: readonly string[], shards: readonly Party[]): readonly Party[] {
  const seats = countSeats(available)
  const counts = (address: string): boolean => seats === available.length || familyOf(address) === 4
  const rank = ({ held }: Party): number => (held.some(counts) ? 0 : 1)
  return shards.toSorted((a, b) => rank(a) - rank(b) || a.shard - b.shard).slice(0, seats)
}

/** How many instances a node takes is not the addresses' business: each node needs room for those that are elsewhere now. */
function groundOf(fleet: FleetSnapshot, { spec }: IPPool): Ground {
  const nodes = fleet.nodes.filter((node) => lacksLabel(node, spec.nodeSelector) === undefined).toSorted(byName)
  const words = {
    none: 'no node can take it',
    empty: "none has the labels of the pool's nodeSelector",
    elsewhere: "which lacks the labels of the pool's nodeSelector",
  }
  return { capacities: new Map(nodes.map(({ metadata }) => [metadata.name, Infinity])), words }
}

function explainExhausted({ metadata, spec }: IPPool, available: readonly string[], shards: readonly Party[]): Shortage {
  const rivals = spec.addresses.length - available.length
  const others = rivals === 0 ? '' : ` (and ${rivals} that another pool names too)`
  const count = `has ${countSeats(available)} for ${shards.length} shards${others}`
  return { reason: 'PoolExhausted', message: `IPPool '${metadata.name}' must have an address for each shard, ${count}` }
}

function explainShortage(fleet: FleetSnapshot, pool: IPPool, place: Place | undefined, users: Users): Shortage {
  if (place === undefined) return { reason: 'PoolExhausted', message: 'it is on its way out and gets no address any more' }
  if (place.kind === 'none') return { reason: place.because, message: place.message }
  const inUse = pool.spec.addresses.map(({ address }) => address).filter((address) => rivalPools(fleet, pool, address).length === 0)
  return { reason: 'AddressesInUse', message: `waiting until all agents of another shard have let go: ${formatUsers(users, inUse)}` }
}
