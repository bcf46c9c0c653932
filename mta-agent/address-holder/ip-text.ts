import { canonicalAddress, type Family } from '#crds/addresses.ts'
import type { NetworkInterface, NetworkView, Placed } from './port.ts'

/** The language of `ip -json -batch`, both ways. Pure. */

/**
 * Deprecated from the beginning (preferred_lft 0): whoever binds to the address may use it, and nothing on the node chooses it by itself.
 * Without the kernel's own duplicate detection (nodad), which would keep an IPv6 address unusable for a second; the holder has asked before.
 */
export const setLifetime = ({ address, prefixLength, interface: name, family }: Placed, seconds: number): string =>
  `addr replace ${address}/${prefixLength} dev ${name} valid_lft ${seconds} preferred_lft 0${family === 6 ? ' nodad' : ''}`

export const removeAddress = ({ address, prefixLength, interface: name }: Placed): string =>
  `addr del ${address}/${prefixLength} dev ${name}`

/** What was known of the neighbour is forgotten, then the kernel asks for it on this interface, whatever the routes say. */
export const solicitNeighbour = ({ address, interface: name }: Placed): readonly string[] => [
  `neigh flush to ${address} dev ${name}`,
  `neigh replace ${address} dev ${name} use`,
]

export const SHOW_VIEW = ['addr show', 'route show exact 0.0.0.0/0'] as const
/** A family of its own, which a batch cannot choose line by line. */
export const IPV6_DEFAULT_ROUTES = ['-6', '-json', 'route', 'show', 'default'] as const
export const SHOW_NEIGHBOURS = ['neigh show nud all'] as const
/** An answer that costs nothing: what was said before it is done. */
export const SHOW_NOTHING = ['route show 255.255.255.255/32'] as const

const FOREVER = 4_294_967_295

type IpInterface = {
  readonly ifname: string
  readonly flags: readonly string[]
  readonly addr_info: readonly {
    readonly local?: string
    readonly prefixlen: number
    readonly scope: string
    readonly valid_life_time: number
  }[]
}
type IpRoute = { readonly dev?: string; readonly metric?: number }
type IpNeighbour = { readonly dst: string; readonly dev: string; readonly lladdr?: string; readonly state: readonly string[] }

export function readView([interfaces, routes4, routes6]: readonly unknown[]): NetworkView {
  return {
    // `addr show` with nothing to say about an interface leaves an empty object.
    interfaces: (interfaces as readonly IpInterface[]).filter(({ ifname }) => ifname !== undefined).map(readInterface),
    defaultInterface: { ...readDefault(4, routes4), ...readDefault(6, routes6) },
  }
}

const readInterface = ({ ifname, flags, addr_info }: IpInterface): NetworkInterface => ({
  name: ifname,
  isUp: flags.includes('UP'),
  hasNeighbours: !flags.includes('NOARP') && !flags.includes('LOOPBACK'),
  addresses: addr_info.flatMap(({ local, prefixlen, scope, valid_life_time }) =>
    scope !== 'global' || local === undefined
      ? []
      : [
          {
            address: canonicalAddress(local),
            prefixLength: prefixlen,
            secondsLeft: valid_life_time === FOREVER ? Number.POSITIVE_INFINITY : valid_life_time,
          },
        ],
  ),
})

function readDefault(family: Family, routes: unknown): Partial<Record<Family, string>> {
  const best = (routes as readonly IpRoute[]).toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0)).find(({ dev }) => dev !== undefined)
  return best?.dev === undefined ? {} : { [family]: best.dev }
}

/** Those of the wanted that have said where they are. */
export function readAnswers([neighbours]: readonly unknown[], wanted: readonly Placed[]) {
  return (neighbours as readonly IpNeighbour[]).flatMap(({ dst, dev, lladdr }) =>
    lladdr !== undefined && wanted.some((one) => one.address === dst && one.interface === dev)
      ? [{ address: dst, linkAddress: lladdr }]
      : [],
  )
}
