import {
  formatAddress,
  formatNetwork,
  type IpAddress,
  type IpNetwork,
  isAddress,
  networkContains,
  parseAddress,
  parseNetwork,
} from '#crds/addresses.ts'

/** Allowed networks, and what counts as one client. */
export type Networks = readonly IpNetwork[]

/** Throws RangeError, saying what must be and what was, when one of them is no network. */
export const parseNetworks = (texts: readonly string[]): Networks => texts.map(parseNetwork)

/** `address`: as a socket gives it. */
export function contains(networks: Networks, address: string): boolean {
  const client = clientAddress(address)
  return client !== undefined && networks.some((network) => networkContains(network, client))
}

/** What counts as one client where attempts are counted: an IPv4 address, or an IPv6 /64, which is what one client is given. */
export function clientKey(address: string): string {
  const client = clientAddress(address)
  if (client === undefined) return 'unknown'
  return client.family === 4 ? formatAddress(client) : formatNetwork({ ...client, prefixLength: 64 })
}

/** A socket for both families writes an IPv4 client as `::ffff:192.0.2.1`, and a link-local one with its interface. */
function clientAddress(text: string): IpAddress | undefined {
  const address = text.replace(/^::ffff:(?=[0-9.]+$)/i, '').replace(/%.*$/, '')
  return isAddress(address) ? parseAddress(address) : undefined
}
