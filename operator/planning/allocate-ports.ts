import type { MTAInstanceSpec } from '#crds/mta-instance.ts'

/**
 * Ports on the network of the node, unique there over all streams and namespaces. An instance keeps its ports for good; where two have the same
 * port on one node (two plans made at once), the older keeps it. An instance without a node yet might go to any, so its ports are nobody else's.
 */

export type Ports = MTAInstanceSpec['ports']

/** One instance, oldest first in every list of them. */
export type PortParty = {
  readonly id: string
  readonly nodeName: string | undefined
  /** Undefined: it has none yet. */
  readonly ports: Ports | undefined
}

export type PortRange = { readonly first: number; readonly last: number }

const NAMES = ['submission', 'submissions', 'admin'] as const

/** The ports of every party, by id. A party that the range has no three ports for is missing. */
export function allocatePorts(parties: readonly PortParty[], range: PortRange): ReadonlyMap<string, Ports> {
  const taken = new TakenPorts()
  const kept = new Map<string, Ports>()
  for (const { id, nodeName, ports } of parties) {
    if (ports === undefined || !isDistinct(ports) || NAMES.some((name) => taken.has(nodeName, ports[name]))) continue
    for (const name of NAMES) taken.add(nodeName, ports[name])
    kept.set(id, ports)
  }
  for (const { id, nodeName } of parties) {
    if (kept.has(id)) continue
    const free = lowestFree(taken, nodeName, range)
    if (free === undefined) continue
    for (const name of NAMES) taken.add(nodeName, free[name])
    kept.set(id, free)
  }
  return kept
}

const isDistinct = (ports: Ports): boolean => new Set(NAMES.map((name) => ports[name])).size === NAMES.length

function lowestFree(taken: TakenPorts, nodeName: string | undefined, range: PortRange): Ports | undefined {
  const found: number[] = []
  for (let port = range.first; port <= range.last && found.length < NAMES.length; port++) {
    if (!taken.has(nodeName, port)) found.push(port)
  }
  const [submission, submissions, admin] = found
  if (submission === undefined || submissions === undefined || admin === undefined) return undefined
  return { submission, submissions, admin }
}

/** Ports by node; those of an instance without a node count everywhere, and those of every node count for it. */
class TakenPorts {
  readonly #byNode = new Map<string, Set<number>>()
  readonly #nowhere = new Set<number>()
  readonly #anywhere = new Set<number>()

  has(nodeName: string | undefined, port: number): boolean {
    if (nodeName === undefined) return this.#anywhere.has(port)
    return this.#nowhere.has(port) || this.#byNode.get(nodeName)?.has(port) === true
  }

  add(nodeName: string | undefined, port: number): void {
    this.#anywhere.add(port)
    if (nodeName === undefined) this.#nowhere.add(port)
    else this.#byNode.set(nodeName, (this.#byNode.get(nodeName) ?? new Set()).add(port))
  }
}
