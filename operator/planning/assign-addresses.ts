import type { IPPool, PoolAddress } from '#crds/ip-pool.ts'
import type { MTAInstance, SourceAddress } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { rivalPools } from './accept-pool.ts'
import { claimName } from './objects/metadata.ts'
import { placeInstance, type Place, type Site } from './place-instance.ts'
import { siblingsOn } from './standbys/siblings.ts'
import { byText, type FleetSnapshot, findObject, formatName } from './snapshot.ts'
import { placeOfVolume } from './volumes.ts'

/**
 * Which instance sends from which source address. Two rules that must never break: an address is one instance's, and an instance has addresses
 * of one node. Sticky: an address that is bound moves only when another instance of its node would have less than its share, for
 * a move costs its warm connections.
 *
 *   bound ──agent works by this spec──▶ taken out of the spec ──agent lists it no more──▶ free ──▶ bound to another
 *
 * An address is taken away only while the agent works by the newest spec, so that the list which it has reported by then holds every address
 * that it may use; and it is given on only when it is in nobody's spec and in nobody's list. That takes several plans, and the world in between.
 */

/** An instance that is to have addresses. */
export type Claimant = {
  readonly name: string
  readonly shard: number
  /** Undefined: not made yet. */
  readonly instance: MTAInstance | undefined
  /** Receives: takes its share. Keeps: has what it has, at most its share, and gets nothing more, for it is on its way out. */
  readonly part: 'Receives' | 'Keeps'
}

export type Shortage =
  | 'VolumeElsewhere'
  | 'PoolExhausted'
  | 'NoNodeFits'
  | 'NodeNotFound'
  | 'NodeNotInPool'
  | 'AddressesInUse'
  | 'AddressConflict'

export type Assignment = {
  readonly nodeName: string | undefined
  readonly addresses: readonly SourceAddress[]
  /** Why there is no address; absent when there is one. */
  readonly shortage?: { readonly reason: Shortage; readonly message: string }
}

type Party = Claimant & { readonly nodeName: string; readonly held: readonly string[]; readonly releases: boolean }

/** The assignment of every claimant, by name. */
export function planAssignments(
  fleet: FleetSnapshot,
  stream: SendingStream,
  pool: IPPool,
  claimants: readonly Claimant[],
): ReadonlyMap<string, Assignment> {
  const users = usersOfAddresses(fleet, pool)
  const places = placeAll(fleet, stream, pool, claimants)
  const parties = claimants.flatMap((claimant): Party[] => {
    const place = places.get(claimant.name)
    if (place?.kind !== 'node') return []
    const held = heldOn(claimant.instance, pool, place.nodeName)
    return [{ ...claimant, nodeName: place.nodeName, held, releases: mayRelease(fleet, claimant.instance) }]
  })
  const given = new Map<string, readonly string[]>()
  for (const nodeName of new Set(parties.map((party) => party.nodeName))) {
    const here = parties.filter((party) => party.nodeName === nodeName)
    for (const [name, addresses] of shareNode(fleet, pool, here, users)) given.set(name, addresses)
  }
  return new Map(
    claimants.map((claimant) => {
      const place = places.get(claimant.name)
      const addresses = [
        ...named(pool, given.get(claimant.name) ?? []),
        ...overdue(fleet, claimant.instance, given.get(claimant.name) ?? []),
      ]
      const nodeName = place?.kind === 'node' ? place.nodeName : undefined
      if (addresses.length > 0) return [claimant.name, { nodeName, addresses }] as const
      return [claimant.name, { nodeName, addresses, shortage: explainShortage(fleet, pool, place, users) }] as const
    }),
  )
}

/** With the host names that the pool gives them now. */
const named = (pool: IPPool, addresses: readonly string[]): readonly SourceAddress[] => {
  const hostNames = new Map(pool.spec.addresses.map((entry) => [entry.address, entry.hostName]))
  return addresses.map((address) => ({ address, hostName: hostNames.get(address) ?? '' }))
}

/** What the instance would lose now, but its agent is not ready to be told. */
const overdue = (fleet: FleetSnapshot, instance: MTAInstance | undefined, given: readonly string[]): readonly SourceAddress[] =>
  instance === undefined || mayRelease(fleet, instance) ? [] : instance.spec.addresses.filter(({ address }) => !given.includes(address))

/**
 * Whether addresses may be taken out of the spec: the agent works by it and has said so, or there never was an agent. Otherwise one may be in use
 * that is not in the agent's list yet, and would be in neither.
 */
export function mayRelease(fleet: FleetSnapshot, instance: MTAInstance | undefined): boolean {
  if (instance === undefined) return true
  const { generation = 0 } = instance.metadata
  const { agent } = instance.status ?? {}
  return agent === undefined ? neverHadAgent(fleet, instance) : (agent.observedGeneration ?? 0) >= generation
}

/**
 * That there is no Pod is not enough: one may have been replaced before it said anything, and the next begins with the document that it left on the
 * volume. The claim is there before the first Pod is.
 */
const neverHadAgent = (fleet: FleetSnapshot, { metadata, spec }: MTAInstance): boolean =>
  findObject(fleet.pods, metadata.namespace, metadata.name) === undefined &&
  findObject(fleet.claims, metadata.namespace, spec.queue.volumeClaimName ?? claimName(metadata.name)) === undefined

/** A node for every claimant: the one it has, or the best one for it; those before it are already there. */
function placeAll(fleet: FleetSnapshot, stream: SendingStream, pool: IPPool, claimants: readonly Claimant[]): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>()
  const sorted = claimants.toSorted((a, b) => a.shard - b.shard || byText(a.name, b.name))
  for (const { name, instance } of sorted) {
    const nodeName = instance?.spec.nodeName
    if (nodeName !== undefined && mustStay(fleet, pool, instance, nodeName)) places.set(name, { kind: 'node', nodeName })
  }
  for (const claimant of sorted) {
    const { name, part, instance } = claimant
    if (places.has(name)) continue
    if (part === 'Keeps') {
      const nodeName = instance?.spec.nodeName
      if (nodeName !== undefined) places.set(name, { kind: 'node', nodeName })
      continue
    }
    const volume = placeOfVolume(fleet, stream.metadata.namespace, name)
    const siblings = siblingsOn(fleet, nodesOfSiblings(sorted, places, claimant))
    places.set(name, placeInstance(fleet, sitesOf(fleet, pool, places), { placement: stream.spec.placement, volume, siblings }))
  }
  return places
}

/** Where the others of its shard shall be or, as long as that is not known, are. */
const nodesOfSiblings = (
  claimants: readonly Claimant[],
  places: ReadonlyMap<string, Place>,
  { name, shard }: Claimant,
): readonly string[] =>
  claimants
    .filter((other) => other.shard === shard && other.name !== name)
    .flatMap((other) => {
      const place = places.get(other.name)
      return (place?.kind === 'node' ? place.nodeName : other.instance?.spec.nodeName) ?? []
    })

/** An instance leaves its node only when the node has nothing for it and its mail is not there. */
function mustStay(fleet: FleetSnapshot, pool: IPPool, instance: MTAInstance | undefined, nodeName: string): boolean {
  if (instance === undefined) return false
  if (!mayRelease(fleet, instance)) return true
  const volume = placeOfVolume(fleet, instance.metadata.namespace, instance.metadata.name)
  if (volume.kind === 'bound') return volume.nodes.has(nodeName)
  return pool.spec.addresses.some((entry) => entry.nodeName === nodeName) && findObject(fleet.nodes, undefined, nodeName) !== undefined
}

function sitesOf(fleet: FleetSnapshot, pool: IPPool, places: ReadonlyMap<string, Place>): readonly Site[] {
  const names = [...new Set(pool.spec.addresses.flatMap((entry) => entry.nodeName ?? []))].toSorted()
  return names.map((nodeName) => {
    const entries = pool.spec.addresses.filter(
      (entry) => entry.nodeName === nodeName && rivalPools(fleet, pool, entry.address).length === 0,
    )
    const v4 = entries.filter((entry) => familyOf(entry.address) === 4)
    const instances = [...places.values()].filter((place) => place.kind === 'node' && place.nodeName === nodeName).length
    // Most of the world's mail hosts have IPv4 only: an instance without such an address, where there are some, would be half an instance.
    return { nodeName, capacity: v4.length > 0 ? v4.length : entries.length, instances }
  })
}

const heldOn = (instance: MTAInstance | undefined, pool: IPPool, nodeName: string): readonly string[] => {
  const bound = new Set(instance?.spec.addresses.map((entry) => entry.address) ?? [])
  return pool.spec.addresses.filter((entry) => entry.nodeName === nodeName && bound.has(entry.address)).map((entry) => entry.address)
}

/**
 * Address → the instances that may open connections from it: by their spec, or by what their agent has not yet let go. What an agent said last
 * counts even when its Pod is gone: the next one may start from the document that is kept on the volume.
 */
type Users = ReadonlyMap<string, ReadonlySet<string>>

/** Of the addresses of this pool. */
export function usersOfAddresses(fleet: FleetSnapshot, pool: IPPool): Users {
  const users = new Map<string, Set<string>>(pool.spec.addresses.map(({ address }) => [address, new Set()]))
  for (const instance of fleet.instances) {
    for (const { address } of instance.spec.addresses) users.get(address)?.add(formatName(instance))
    for (const address of instance.status?.agent?.addresses ?? []) users.get(address)?.add(formatName(instance))
  }
  return users
}

/** IPv4 and IPv6 are shared out separately, so that everyone can reach both halves of the world. */
function shareNode(fleet: FleetSnapshot, pool: IPPool, parties: readonly Party[], users: Users): ReadonlyMap<string, readonly string[]> {
  const order = pool.spec.addresses.map((entry) => entry.address)
  const shares = new Map<string, string[]>(parties.map((party) => [party.name, []]))
  for (const family of [4, 6] as const) {
    const mine = parties.map((party) => ({ ...party, held: party.held.filter((address) => familyOf(address) === family) }))
    const entries = pool.spec.addresses.filter((entry) => entry.nodeName === mine[0]?.nodeName && familyOf(entry.address) === family)
    const available = entries.filter((entry) => isAvailable(fleet, pool, entry, mine)).map((entry) => entry.address)
    for (const [name, addresses] of shareFamily(available, mine, users)) shares.get(name)?.push(...addresses)
  }
  return new Map([...shares].map(([name, addresses]) => [name, addresses.toSorted((a, b) => order.indexOf(a) - order.indexOf(b))]))
}

/** What is bound stays bound: neither a vanished Node nor a rival pool, which may be anybody's mistake, takes an address from a sender. */
const isAvailable = (fleet: FleetSnapshot, pool: IPPool, entry: PoolAddress, parties: readonly Party[]): boolean =>
  parties.some((party) => party.held.includes(entry.address)) ||
  (rivalPools(fleet, pool, entry.address).length === 0 && findObject(fleet.nodes, undefined, entry.nodeName ?? '') !== undefined)

function shareFamily(available: readonly string[], parties: readonly Party[], users: Users): ReadonlyMap<string, readonly string[]> {
  const quotas = quotasOf(available.length, parties)
  const shares = new Map(parties.map(({ name, held, releases }) => [name, releases ? held.slice(0, quotas.get(name) ?? 0) : [...held]]))
  const bound = new Set([...shares.values()].flat())
  for (const address of available.filter((one) => !bound.has(one))) {
    const [neediest] = parties
      .filter((party) => party.part === 'Receives' && isFreeFor(users, address, party))
      .map((party) => ({ party, missing: (quotas.get(party.name) ?? 0) - (shares.get(party.name)?.length ?? 0) }))
      .filter(({ missing }) => missing > 0)
      .toSorted((a, b) => b.missing - a.missing || a.party.shard - b.party.shard || byText(a.party.name, b.party.name))
    if (neediest !== undefined) shares.get(neediest.party.name)?.push(address)
  }
  return shares
}

/** Nobody else may open a connection from it. What an instance lets go itself it may have back. */
const isFreeFor = (users: Users, address: string, party: Party): boolean =>
  [...(users.get(address) ?? [])].every((user) => party.instance !== undefined && user === formatName(party.instance))

/** Even shares; what is left over goes to those who have most already, so that the fewest addresses move. */
function quotasOf(total: number, parties: readonly Party[]): ReadonlyMap<string, number> {
  const receivers = parties.filter((party) => party.part === 'Receives')
  const most = receivers.length === 0 ? total : Math.ceil(total / parties.length)
  const keepers = parties.filter((party) => party.part === 'Keeps').map((party) => [party.name, Math.min(party.held.length, most)] as const)
  const rest = Math.max(0, total - keepers.reduce((sum, [, count]) => sum + count, 0))
  const share = receivers.length === 0 ? 0 : Math.floor(rest / receivers.length)
  const over = rest - share * receivers.length
  const byHolding = receivers.toSorted((a, b) => b.held.length - a.held.length || a.shard - b.shard || byText(a.name, b.name))
  return new Map([...keepers, ...byHolding.map(({ name }, index) => [name, share + (index < over ? 1 : 0)] as const)])
}

function explainShortage(
  fleet: FleetSnapshot,
  pool: IPPool,
  place: Place | undefined,
  users: Users,
): { reason: Shortage; message: string } {
  if (place === undefined) return { reason: 'PoolExhausted', message: 'it has no node, and none is looked for while it is on its way out' }
  if (place.kind === 'none') return { reason: place.because, message: place.message }
  const { nodeName } = place
  const entries = pool.spec.addresses.filter((entry) => entry.nodeName === nodeName)
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
  const inUse = entries.map(({ address }) => `${address} by ${[...(users.get(address) ?? [])].toSorted().join(', ') || 'nobody'}`)
  const message = `waiting until the agents on node '${nodeName}' have let go: ${inUse.join('; ')}`
  return { reason: 'AddressesInUse', message }
}

export const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)
