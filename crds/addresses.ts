/**
 * IP addresses, networks and domain names: one spelling each. What these functions take is exactly what the CEL functions of the API
 * server take (isIP, ip().isCanonical, isCIDR), so that a file and a cluster refuse the same things. An address has one canonical
 * spelling (RFC 5952); two spellings of one address must never pass for two addresses.
 */

export type Family = 4 | 6
export type IpAddress = { readonly family: Family; readonly value: bigint }
export type IpNetwork = IpAddress & { readonly prefixLength: number }

const WIDTH: Record<Family, number> = { 4: 32, 6: 128 }
const MAPPED_PREFIX = 0xffffn

/** Throws RangeError for everything else: zones (`%eth0`), leading zeros in IPv4, and IPv4 written as IPv6 (`::ffff:192.0.2.1`). */
export function parseAddress(text: string): IpAddress {
  const value = text.includes(':') ? ipv6Value(text) : ipv4Value(text)
  if (value === undefined) throw new RangeError(`must be an IPv4 or IPv6 address, was "${text}"`)
  return { family: text.includes(':') ? 6 : 4, value }
}

/** RFC 5952: lower case, no leading zeros, the first longest run of at least two zero groups as `::`. */
export function formatAddress(address: IpAddress): string {
  if (address.family === 4) return [24n, 16n, 8n, 0n].map((shift) => (address.value >> shift) & 0xffn).join('.')
  const groups = Array.from({ length: 8 }, (_, index) => ((address.value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16))
  const run = longestZeroRun(groups)
  if (run.length < 2) return groups.join(':')
  return `${groups.slice(0, run.start).join(':')}::${groups.slice(run.start + run.length).join(':')}`
}

export const canonicalAddress = (text: string): string => formatAddress(parseAddress(text))

export const isAddress = (text: string): boolean => parses(parseAddress, text)

export const isCanonicalAddress = (text: string): boolean => isAddress(text) && canonicalAddress(text) === text

/** IPv4 before IPv6, then by value; for addresses as text. Throws RangeError when one is none. */
export function compareAddresses(a: string, b: string): number {
  const [left, right] = [parseAddress(a), parseAddress(b)]
  if (left.family !== right.family) return left.family - right.family
  if (left.value === right.value) return 0
  return left.value < right.value ? -1 : 1
}

/** 127.0.0.0/8 and ::1. */
export const isLoopback = (address: IpAddress): boolean => (address.family === 4 ? address.value >> 24n === 127n : address.value === 1n)

/** One that a node may have and the world may answer to: not unspecified, broadcast, loopback, link-local or multicast. Private ones are. */
export function isGlobalUnicast(address: IpAddress): boolean {
  const { family, value } = address
  if (value === 0n || isLoopback(address)) return false
  if (family === 4) return value !== 0xffffffffn && value >> 28n !== 0xen && value >> 16n !== 0xa9fen
  return value >> 120n !== 0xffn && value >> 118n !== 0x3fan
}

/** `192.0.2.0/24`. Bits after the prefix may be set; see isCanonicalNetwork. Throws RangeError. */
export function parseNetwork(text: string): IpNetwork {
  const groups = /^(?<address>[^/]+)\/(?<length>0|[1-9][0-9]{0,2})$/.exec(text)?.groups
  const address = groups?.['address'] ?? ''
  const prefixLength = Number(groups?.['length'])
  if (!isAddress(address)) throw new RangeError(`must be a network (192.0.2.0/24 or 2001:db8::/32), was "${text}"`)
  const parsed = parseAddress(address)
  if (prefixLength > WIDTH[parsed.family]) {
    throw new RangeError(`prefix length must be at most ${WIDTH[parsed.family]}, was ${prefixLength} in "${text}"`)
  }
  return { ...parsed, prefixLength }
}

/** With the bits after the prefix cleared. */
export const formatNetwork = (network: IpNetwork): string =>
  `${formatAddress({ family: network.family, value: masked(network.value, network) })}/${network.prefixLength}`

export const isCanonicalNetwork = (text: string): boolean => parses(parseNetwork, text) && formatNetwork(parseNetwork(text)) === text

export const networkContains = (network: IpNetwork, address: IpAddress): boolean =>
  network.family === address.family && masked(network.value, network) === masked(address.value, network)

/** The widest networks that may be called somebody's own: 10.0.0.0/8 and fc00::/7. Wider ones would make an open relay. */
export const WIDEST_PREFIX: Readonly<Record<Family, number>> = { 4: 8, 6: 7 }

/** RE2 and JavaScript both read it: labels of 1 to 63 letters, digits and hyphens in lower case (RFC 1035 section 2.3.1, RFC 1123 section 2.1). */
export const LABEL = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
/** The last label begins with a letter, so no IPv4 address passes for a name. */
export const HOST_NAME = `^(${LABEL}\\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`
/** The same with at least one dot. */
export const DOMAIN = `^(${LABEL}\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`

/** A DNS name of a host in lower case and A-labels, without a final dot; a single label is enough (`localhost`). */
export const isHostName = (text: string): boolean => text.length <= 253 && new RegExp(HOST_NAME).test(text)

/** The same with at least two labels: what may stand in EHLO and to the right of @. */
export const isDomain = (text: string): boolean => text.length <= 253 && new RegExp(DOMAIN).test(text)

function ipv4Value(text: string): bigint | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255)) return undefined
  return parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n)
}

function ipv6Value(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const after = withoutDottedEnd((halves.length === 2 ? tail : head) ?? [])
  if (after === undefined) return undefined
  const groups = halves.length === 2 ? expand(head ?? [], after) : after
  if (groups?.length !== 8 || !groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined
  const value = groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
  return value >> 32n === MAPPED_PREFIX ? undefined : value
}

/** `::` stands for at least one group. */
function expand(head: readonly string[], tail: readonly string[]): string[] | undefined {
  const missing = 8 - head.length - tail.length
  return missing < 1 ? undefined : [...head, ...Array.from({ length: missing }, () => '0'), ...tail]
}

/** The last 32 bits may be written as IPv4 (RFC 4291 section 2.2); as two groups here. */
function withoutDottedEnd(groups: readonly string[]): string[] | undefined {
  const last = groups.at(-1)
  if (!last?.includes('.')) return [...groups]
  const value = ipv4Value(last)
  return value === undefined ? undefined : [...groups.slice(0, -1), (value >> 16n).toString(16), (value & 0xffffn).toString(16)]
}

function longestZeroRun(groups: readonly string[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < groups.length; start++) {
    const end = groups.findIndex((group, index) => index >= start && group !== '0')
    const length = (end === -1 ? groups.length : end) - start
    if (length > best.length) best = { start, length }
  }
  return best
}

function masked(value: bigint, network: Pick<IpNetwork, 'family' | 'prefixLength'>): bigint {
  const rest = BigInt(WIDTH[network.family] - network.prefixLength)
  return (value >> rest) << rest
}

function parses(parse: (text: string) => unknown, text: string): boolean {
  try {
    parse(text)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}
