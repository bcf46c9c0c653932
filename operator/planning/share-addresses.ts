import type { Users } from './address-users.ts'
import type { Claimant } from './assignment.ts'
import { byText } from './snapshot.ts'

/**
 * Even shares of addresses. Sticky: an address that is bound moves only when another party would have less than its share, for a move costs its
 * warm connections.
 */

/** One that has addresses for itself: an instance, or with managed addresses a shard. */
export type Party = {
  readonly name: string
  readonly shard: number
  readonly part: Claimant['part']
  /** What is bound to it. */
  readonly held: readonly string[]
  /** Whether any of that may be taken from it now. */
  readonly releases: boolean
  /** The instances it consists of. What they let go themselves it may have back. */
  readonly instances: ReadonlySet<string>
}

/**
 * Party → what it shall have, in the order of `available`. IPv4 and IPv6 are shared out separately, so that everyone can reach both halves of the
 * world. Whatever a party holds must be available.
 */
export function shareAddresses(
  available: readonly string[],
  parties: readonly Party[],
  users: Users,
): ReadonlyMap<string, readonly string[]> {
  const shares = new Map<string, string[]>(parties.map((party) => [party.name, []]))
  for (const family of [4, 6] as const) {
    const isOf = (address: string): boolean => familyOf(address) === family
    const mine = parties.map((party) => ({ ...party, held: party.held.filter(isOf) }))
    for (const [name, addresses] of shareFamily(available.filter(isOf), mine, users)) shares.get(name)?.push(...addresses)
  }
  return new Map([...shares].map(([name, own]) => [name, own.toSorted((a, b) => available.indexOf(a) - available.indexOf(b))]))
}

/** For how many senders. Most of the world's mail hosts have IPv4 only: one without such an address, where there are some, would be half a sender. */
export function countSeats(addresses: readonly string[]): number {
  const v4 = addresses.filter((address) => familyOf(address) === 4)
  return v4.length > 0 ? v4.length : addresses.length
}

export const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)

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

/** Nobody else may open a connection from it. */
const isFreeFor = (users: Users, address: string, { instances }: Party): boolean =>
  [...(users.get(address) ?? [])].every((user) => instances.has(user))

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
