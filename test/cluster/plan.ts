/**
 * Names, addresses and sizes of the local cluster, all computed from a node's number, so that a scenario can say where something is without asking.
 * Pure: nothing here looks at the machine.
 */

/** The network namespace of everything that is not a node: control plane, DNS, the small internet. It has no uplink, so nothing can leave by mistake. */
export const WORLD = 'mtafleet-world'
export const BRIDGE = 'lan'
export const WORLD_ADDRESS = '10.77.0.1'
export const WORLD_ADDRESS_V6 = 'fd77::1'
export const API_PORT = 6443
/** The API server as seen from outside the namespace. */
export const DOOR_PORT = 16443
export const CLUSTER_DNS_ADDRESS = '10.96.0.10'
/** Where CoreDNS listens in the world: not 53, which belongs to the name servers of the small internet. */
export const CLUSTER_DNS_PORT = 10053
/** The small internet's authoritative name server, to which CoreDNS forwards; it need not be there. */
export const INTERNET_DNS_ADDRESS = '198.51.100.53'
/** The one that is there, but never answers; silent.example is its zone. */
export const SILENT_DNS_ADDRESS = '198.51.100.54'
export const POD_NETWORK = '10.88.0.0/16'
export const SOURCE_NETWORKS = ['192.0.2.0/24', '2001:db8::/48'] as const
export const PAUSE_IMAGE = 'mtafleet.test/pause:1'

export type ClusterSize = {
  readonly nodes: number
  readonly volumesPerNode: number
  readonly volumeMebibytes: number
}
export const DEFAULT_SIZE: ClusterSize = { nodes: 4, volumesPerNode: 6, volumeMebibytes: 512 }
const SMALL_MEBIBYTES = 64

/** A disk of a node: a number, or the one small disk that scenarios fill up. */
export type Slot = number | 'small'
export type DiskPlan = {
  readonly slot: Slot
  readonly volume: string
  readonly storageClass: string
  readonly mebibytes: number
  readonly mountPoint: string
}

export type NodePlan = {
  readonly number: number
  readonly name: string
  readonly zone: string
  readonly namespace: string
  /** The node's end of the cable is eth0; this is the other one, on the bridge. */
  readonly link: string
  readonly mac: string
  readonly address: string
  readonly addressV6: string
  readonly podSubnet: string
  /** Addresses that an administrator would have added to eth0 for sending (IPPool attachment Existing). */
  readonly sourceAddresses: readonly string[]
  readonly disks: readonly DiskPlan[]
}

export function planNodes(size: ClusterSize): NodePlan[] {
  return Array.from({ length: size.nodes }, (_, index) => planNode(index + 1, size))
}

export function planNode(number: number, size: ClusterSize): NodePlan {
  const name = `node${number}`
  const slots = Array.from({ length: size.volumesPerNode }, (_, index) => index + 1)
  return {
    number,
    name,
    zone: `zone-${((number - 1) % 3) + 1}`,
    namespace: `mtafleet-${name}`,
    link: `lan${number}`,
    // The same after a power cut, as a network card's would be: neighbours need not learn a new one.
    mac: `02:6d:74:61:00:0${number}`,
    address: `10.77.0.1${number}`,
    addressV6: `fd77::1${number}`,
    podSubnet: `10.88.${number}.0/24`,
    sourceAddresses: [1, 2, 3, 4].flatMap((last) => [`192.0.2.${number}${last}`, `2001:db8:0:${number}::${last}`]),
    disks: [...slots.map((slot) => planDisk(name, slot, size.volumeMebibytes)), planDisk(name, 'small', SMALL_MEBIBYTES)],
  }
}

function planDisk(node: string, slot: Slot, mebibytes: number): DiskPlan {
  const storageClass = slot === 'small' ? 'local-ssd-small' : 'local-ssd'
  return { slot, volume: `${node}-ssd-${slot}`, storageClass, mebibytes, mountPoint: `/mnt/ssd/${slot}` }
}

const BOUNDS: Readonly<Record<keyof ClusterSize, readonly [number, number]>> = {
  nodes: [1, 9],
  volumesPerNode: [1, 32],
  volumeMebibytes: [16, 65_536],
}

/** Throws when a number cannot be had; the address plan has room for nine nodes. */
export function parseSize(given: Partial<Record<keyof ClusterSize, string | number>>): ClusterSize {
  const size = { ...DEFAULT_SIZE }
  for (const [field, [least, most]] of Object.entries(BOUNDS) as [keyof ClusterSize, readonly [number, number]][]) {
    if (given[field] === undefined) continue
    const value = Number(given[field])
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new RangeError(`${field} must be an integer from ${least} to ${most}, was ${JSON.stringify(given[field])}`)
    }
    size[field] = value
  }
  return size
}

/** `node2` or `2`. */
export function parseNode(text: string | number, size: ClusterSize): NodePlan {
  const number = Number(String(text).replace(/^node/, ''))
  if (!Number.isInteger(number) || number < 1 || number > size.nodes) {
    throw new RangeError(`node must be node1 to node${size.nodes} (or 1 to ${size.nodes}), was ${JSON.stringify(text)}`)
  }
  return planNode(number, size)
}
