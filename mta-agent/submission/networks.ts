import ipaddr from 'ipaddr.js'

/** Allowed networks (CIDR, IPv4 and IPv6). An IPv4-mapped IPv6 address is the IPv4 address that it names, on both sides. */
export type Networks = readonly (readonly [ipaddr.IPv4 | ipaddr.IPv6, number])[]

/** Throws RangeError, saying what must be and what was, when one of them is no network. */
export function parseNetworks(texts: readonly string[]): Networks {
  return texts.map((text) => {
    if (!ipaddr.isValidCIDR(text))
      throw new RangeError(`must be a network such as 192.0.2.0/24 or 2001:db8::/32, was ${JSON.stringify(text)}`)
    const [address, length] = ipaddr.parseCIDR(text)
    if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && length >= 96)
      return [address.toIPv4Address(), length - 96] as const
    return [address, length] as const
  })
}

export function contains(networks: Networks, address: string): boolean {
  if (!ipaddr.isValid(address)) return false
  const client = ipaddr.process(address)
  return networks.some(([network, length]) => network.kind() === client.kind() && client.match(network, length))
}

/** What counts as one client where attempts are counted: an IPv4 address, or an IPv6 /64, which is what one client is given. */
export function clientKey(address: string): string {
  if (!ipaddr.isValid(address)) return 'unknown'
  const client = ipaddr.process(address)
  return client instanceof ipaddr.IPv6
    ? client.parts
        .slice(0, 4)
        .map((part) => part.toString(16))
        .join(':')
    : client.toString()
}
