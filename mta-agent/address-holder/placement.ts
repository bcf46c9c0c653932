import { type Family, formatNetwork, networkContains, parseAddress } from '#crds/addresses.ts'
import { LONGEST_SECONDS } from './lifetimes.ts'
import type { Attached, ManagedAddress, NetworkInterface, NetworkView, Placed, Refusal } from './port.ts'

/**
 * Where an address goes, and whether it may: pure, over what the node has. What must never happen: an address that the node itself begins to
 * speak from, and an address of the administrator changed or removed.
 */

export type Judgement = {
  /** `fresh`: nobody is known to have it, so somebody else must be asked for first. `ours`: it is there already, as a holder leaves it. */
  readonly placed: readonly { readonly address: Placed; readonly state: 'fresh' | 'ours' }[]
  readonly refused: readonly Refusal[]
}

export const FULL_LENGTH: Readonly<Record<Family, number>> = { 4: 32, 6: 128 }

export function judgePlacement(wanted: readonly ManagedAddress[], view: NetworkView): Judgement {
  const judged = wanted.map((one) => judgeOne(one, view))
  return {
    placed: judged.flatMap((one) => ('state' in one ? [one] : [])),
    refused: judged.flatMap((one) => ('reason' in one ? [one] : [])),
  }
}

function judgeOne(wanted: ManagedAddress, view: NetworkView): Judgement['placed'][number] | Refusal {
  const { address } = wanted
  const { family } = parseAddress(address)
  const prefixLength = wanted.prefixLength ?? FULL_LENGTH[family]
  const home =
    wanted.interface === undefined ? chooseInterface(address, view) : view.interfaces.find(({ name }) => name === wanted.interface)
  if (home === undefined) {
    const must =
      wanted.interface === undefined
        ? 'there must be an interface whose network contains it, or a default route'
        : `there must be an interface ${wanted.interface}`
    return { address, reason: 'NoInterface', message: `${must}; there are ${view.interfaces.map(({ name }) => name).join(', ')}` }
  }
  if (!home.isUp) return { address, reason: 'NoInterface', message: `${home.name} must be up, was down` }
  const there = view.interfaces
    .flatMap((one) => one.addresses.map((entry) => ({ ...entry, name: one.name })))
    .filter((entry) => entry.address === address)
  const foreign = there.find((entry) => isLasting(entry) || entry.prefixLength !== prefixLength || entry.name !== home.name)
  if (foreign) {
    const how = isLasting(foreign) ? 'not put there by an address holder' : 'until it ends'
    return { address, reason: 'AlreadyThere', message: `${address}/${foreign.prefixLength} is on ${foreign.name} already, ${how}` }
  }
  const placed: Placed = { address, family, prefixLength, interface: home.name, hasNeighbours: home.hasNeighbours }
  const trouble = asFirst(placed, home)
  if (trouble !== undefined) return { address, reason: 'FirstOnInterface', message: trouble }
  return { address: placed, state: there.length > 0 ? 'ours' : 'fresh' }
}

/** The narrowest network that contains it, else where the node sends what it has no route for. */
function chooseInterface(address: string, view: NetworkView): NetworkInterface | undefined {
  const target = parseAddress(address)
  const homes = view.interfaces.flatMap((one) =>
    one.addresses
      .filter((entry) => isLasting(entry) && networkContains({ ...parseAddress(entry.address), prefixLength: entry.prefixLength }, target))
      .map((entry) => ({ one, prefixLength: entry.prefixLength })),
  )
  const narrowest = homes.toSorted((a, b) => b.prefixLength - a.prefixLength)[0]
  return narrowest?.one ?? view.interfaces.find(({ name }) => name === view.defaultInterface[target.family])
}

/**
 * The kernel speaks from the first address of an interface when it is not told from which, and drops the others of a network together with its
 * first. So the first one must be somebody's that lasts.
 */
function asFirst(placed: Placed, home: NetworkInterface): string | undefined {
  const lasting = home.addresses.filter((entry) => isLasting(entry) && parseAddress(entry.address).family === placed.family)
  if (lasting.length === 0) return `${home.name} must have an IPv${placed.family} address of its own first, had none that lasts`
  if (placed.prefixLength === FULL_LENGTH[placed.family]) return undefined
  const networkOf = (one: { readonly address: string; readonly prefixLength: number }) =>
    formatNetwork({ ...parseAddress(one.address), prefixLength: one.prefixLength })
  if (lasting.some((entry) => networkOf(entry) === networkOf(placed))) return undefined
  return `${home.name} must have an address of its own in ${networkOf(placed)} first, or the prefix length must be ${FULL_LENGTH[placed.family]}`
}

/** The administrator's: without end, or with one that DHCP and router advertisements move. */
export const isLasting = ({ secondsLeft }: Attached): boolean => secondsLeft > LONGEST_SECONDS
