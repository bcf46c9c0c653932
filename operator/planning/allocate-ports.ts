import { type Ports, portsOf } from '#crds/mta-instance.ts'

/**
 * Ports on the network of the node, unique there over all streams and namespaces. An instance keeps its ports for good; where two have the same
 * port on one node (two plans made at once), the older keeps it. An instance without a node yet might go to any, so its ports are nobody else's.
 */

/** One instance, oldest first in every list of them. */
export type PortParty = {
  readonly id: string
  readonly nodeName: string | undefined
  /** Undefined: it has none yet. */
  readonly ports: Ports | undefined
  /** Whether it needs those for the other instances of its shard too. */
  readonly isReplicated?: boolean
}

export type PortRange = { readonly first: number; readonly last: number }

const NAMES = ['submission', 'submissions', 'admin'] as const
const REPLICATION_NAMES = ['log', 'beacon'] as const
type Name = (typeof NAMES)[number] | (typeof REPLICATION_NAMES)[number]

/** The ports of every party, by id. A party that the range has not enough ports for is missing. */
export function allocatePorts(parties: readonly PortParty[], range: PortRange): ReadonlyMap<string, Ports> {
  const taken = new TakenPorts()
  const kept = new Map<string, Ports>()
  for (const { id, nodeName, ports } of parties) {
    if (ports === undefined || !isDistinct(ports) || portsOf(ports).some((port) => taken.has(nodeName, port))) continue
    for (const port of portsOf(ports)) taken.add(nodeName, port)
    kept.set(id, ports)
  }
  for (const { id, nodeName, isReplicated = false } of parties) {
    const ports = kept.get(id)
    const missing = namesOf(isReplicated).filter((name) => ports?.[name] === undefined)
    const free = taken.lowestFree(nodeName, range, missing.length)
    if (free.length < missing.length) {
      kept.delete(id)
      continue
    }
    for (const port of free) taken.add(nodeName, port)
    kept.set(id, { ...ports, ...Object.fromEntries(missing.map((name, index) => [name, free[index]])) } as Ports)
  }
  return kept
}

const isDistinct = (ports: Ports): boolean => new Set(portsOf(ports)).size === portsOf(ports).length

const namesOf = (isReplicated: boolean): readonly Name[] => (isReplicated ? [...NAMES, ...REPLICATION_NAMES] : NAMES)

/** Ports by node; those of an instance without a node count everywhere, and those of every node count for it. */
class TakenPorts {
  readonly #byNode = new Map<string, Set<number>>()
  readonly #nowhere = new Set<number>()
  readonly #anywhere = new Set<number>()

  has(nodeName: string | undefined, port: number): boolean {
    if (nodeName === undefined) return this.#anywhere.has(port)
    return this.#nowhere.has(port) || this.#byNode.get(nodeName)?.has(port) === true
  }

  /** Fewer than `count` where the range has no more. */
  lowestFree(nodeName: string | undefined, { first, last }: PortRange, count: number): readonly number[] {
    const found: number[] = []
    for (let port = first; port <= last && found.length < count; port++) if (!this.has(nodeName, port)) found.push(port)
    return found
  }

  add(nodeName: string | undefined, port: number): void {
    this.#anywhere.add(port)
    if (nodeName === undefined) this.#nowhere.add(port)
    else this.#byNode.set(nodeName, (this.#byNode.get(nodeName) ?? new Set()).add(port))
  }
}
