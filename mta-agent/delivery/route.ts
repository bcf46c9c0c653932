import { BlockList, isIP } from 'node:net'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Domain } from '../domain/envelope.ts'
import type { SourceAddress } from '#crds/mta-instance.ts'
import type { Route as ConfiguredRoute } from '#crds/sending-stream.ts'
import type { DnsAnswer, HostAddress, MxRecord } from './resolver.ts'

/**
 * Where mail for a domain goes: RFC 5321 section 5.1 and RFC 7505, as pure rules. Mail must never be returned because a server did not
 * answer, never go to the address of a domain that names other hosts for its mail, and never come back to ourselves.
 */

/** One address of a host that takes the mail. `name` is what a certificate should say. */
export type Host = { readonly name: string; readonly address: string; readonly family: 4 | 6; readonly port: number }

/** A way for a message: from one source address to one host. */
export type Route = { readonly source: SourceAddress; readonly host: Host }

export type NextHop =
  /** A host or address that takes this mail whatever the MX says. */
  | { readonly kind: 'configured'; readonly name: string; readonly port: number }
  /** `user@[192.0.2.1]` (RFC 5321 section 4.1.3). */
  | { readonly kind: 'literal'; readonly address: string }
  | { readonly kind: 'mx'; readonly domain: Domain }

/** Host names, best first, or what is to be told to every recipient at once. */
export type Exchanges =
  | { readonly kind: 'hosts'; readonly hosts: readonly string[] }
  | { readonly kind: 'outcome'; readonly outcome: DeliveryOutcome }

/** More hosts than this are not tried: nobody has so many for mail's sake. */
const MAX_HOSTS = 10
/** Addresses tried in one attempt. RFC 5321 section 5.1 wants at least two; each dead one costs a connect timeout. */
export const MAX_ADDRESSES = 6

/** A route for the domain itself stands before one for `*`. */
export function planNextHop(destination: Domain, routes: readonly ConfiguredRoute[]): NextHop {
  const route = routes.find(({ domain }) => domain === destination) ?? routes.find(({ domain }) => domain === '*')
  if (route !== undefined) return { kind: 'configured', name: route.nextHop.host, port: route.nextHop.port }
  const literal = /^\[(?:ipv6:)?(?<address>[^\]]+)\]$/i.exec(destination)?.groups?.['address']
  return literal === undefined ? { kind: 'mx', domain: destination } : { kind: 'literal', address: literal }
}

/** `own`: names and addresses that are ourselves. Equal preferences come in random order, so that hosts share the load. */
export function planExchanges(domain: Domain, answer: DnsAnswer<MxRecord>, own: ReadonlySet<string>, random: () => number): Exchanges {
  switch (answer.kind) {
    case 'no-name':
      return bounced('NoSuchDomain', '5.1.2', `the domain ${domain} does not exist`)
    case 'failed':
      return deferred('4.4.3', `no answer about the mail exchangers of ${domain}: ${answer.why}`)
    case 'none':
      return { kind: 'hosts', hosts: [domain] }
    case 'records':
      return orderExchanges(domain, answer.records, own, random)
  }
}

function orderExchanges(domain: Domain, records: readonly MxRecord[], own: ReadonlySet<string>, random: () => number): Exchanges {
  const named = records.filter(({ exchange }) => exchange !== '' && exchange !== '.')
  // RFC 7505: only a null MX that stands alone means it; beside others it is a mistake of the zone.
  if (named.length === 0) return bounced('NullMx', '5.1.10', `the domain ${domain} takes no mail (null MX)`, 556)
  const ordered = named
    .map((record) => ({ ...record, exchange: record.exchange.toLowerCase().replace(/\.$/, ''), order: random() }))
    .toSorted((a, b) => a.preference - b.preference || a.order - b.order || (a.exchange < b.exchange ? -1 : 1))
  const self = ordered.find(({ exchange }) => own.has(exchange))
  const before = self === undefined ? ordered : ordered.filter(({ preference }) => preference < self.preference)
  if (before.length === 0) return bounced('Unroutable', '5.4.6', `mail for ${domain} comes back to this host`)
  return { kind: 'hosts', hosts: [...new Set(before.map(({ exchange }) => exchange))].slice(0, MAX_HOSTS) }
}

/** Whoever asks, it is the asker's own machine: by such an address a zone could have mail spoken to whatever listens here. */
export const isLoopback = (address: string): boolean => LOOPBACK.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** 0.0.0.0 and :: are dialled as loopback. IPv4-mapped IPv6 addresses are looked up as IPv4. */
const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addSubnet('0.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')
LOOPBACK.addAddress('::', 'ipv6')

/** What is ourselves. */
export type Own = { has(nameOrAddress: string): boolean }

/** A host with the answer about its addresses. */
export type Located = { readonly name: string; readonly port: number; readonly answer: DnsAnswer<HostAddress> }

export type LocatedHosts =
  | { readonly kind: 'hosts'; readonly hosts: readonly Host[] }
  | { readonly kind: 'outcome'; readonly outcome: DeliveryOutcome }

/**
 * The addresses to try, in order. `implicit`: the domain has no MX, so that it is itself the only host (RFC 5321 section 5.1).
 * A domain whose MX hosts have no address is deferred, not bounced: zones are mended.
 */
export function planHosts(domain: string, located: readonly Located[], implicit: boolean, own: Own): LocatedHosts {
  const hosts: Host[] = []
  for (const { name, port, answer } of located) {
    if (answer.kind !== 'records') continue
    const addresses = answer.records.filter(({ address }) => !own.has(address))
    // Preferences of what follows are as low or lower: mail would pass through ourselves (RFC 5321 section 5.1).
    if (addresses.length < answer.records.length) {
      if (hosts.length === 0) return bounced('Unroutable', '5.4.6', `mail for ${domain} comes back to this host`)
      break
    }
    hosts.push(...addresses.map(({ address, family }) => ({ name, address, family, port })))
  }
  if (hosts.length > 0) return { kind: 'hosts', hosts }
  const failed = located.flatMap(({ name, answer }) => (answer.kind === 'failed' ? `${name}: ${answer.why}` : []))
  if (failed.length > 0) return deferred('4.4.3', `no answer about the addresses of the hosts for ${domain} (${failed.join(', ')})`)
  if (!implicit) return deferred('4.4.4', `no host for ${domain} has an address (${located.map(({ name }) => name).join(', ')})`)
  return bounced('Unroutable', '5.4.4', `the domain ${domain} has neither a mail exchanger nor an address`)
}

/**
 * Each host with the first source of its family whose route is open, or with the first where none is; hosts of a family we have not are
 * left out. One source for each host: where a connection fails, the host is at fault, and another source would only wait as long.
 */
export function planRoutes(
  domain: string,
  hosts: readonly Host[],
  sources: readonly SourceAddress[],
  isOpen: (route: Route) => boolean,
): Route[] | DeliveryOutcome {
  const routes = hosts.flatMap((host) => {
    const ways = sources.filter(({ address }) => familyOf(address) === host.family).map((source) => ({ source, host }))
    return ways.find(isOpen) ?? ways[0] ?? []
  })
  if (routes.length > 0) return routes
  const families = [...new Set(hosts.map(({ family }) => `IPv${family}`))].join(' and ')
  return deferred('4.4.4', `the hosts for ${domain} have only ${families}, and no source address of that family is usable`).outcome
}

/** 4 or 6; 0 for what is no address. */
export function familyOf(address: string): 0 | 4 | 6 {
  const family = isIP(address)
  return family === 4 || family === 6 ? family : 0
}

type BounceReason = Extract<DeliveryOutcome, { kind: 'bounced' }>['because']

const bounced = (because: BounceReason, enhanced: string, text: string, code = 550) =>
  ({ kind: 'outcome', outcome: { kind: 'bounced', because, reply: { code, enhanced, text } } }) as const

const deferred = (enhanced: string, text: string) =>
  ({ kind: 'outcome', outcome: { kind: 'deferred', scope: 'destination', reply: { code: 451, enhanced, text } } }) as const
