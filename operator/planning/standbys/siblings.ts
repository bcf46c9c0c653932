import { findObject, type FleetSnapshot } from '../snapshot.ts'

/** Where the other instances of a shard are: what fails together must not hold all copies. */
export type Siblings = {
  /** Their nodes: no place for another one. */
  readonly nodes: ReadonlySet<string>
  /** The zones of those: better another one, where there is one. */
  readonly zones: ReadonlySet<string>
}

const ZONE = 'topology.kubernetes.io/zone'

export const zoneOf = (fleet: FleetSnapshot, nodeName: string): string | undefined =>
  findObject(fleet.nodes, undefined, nodeName)?.metadata.labels?.[ZONE]

export const siblingsOn = (fleet: FleetSnapshot, nodeNames: readonly string[]): Siblings => ({
  nodes: new Set(nodeNames),
  zones: new Set(nodeNames.flatMap((name) => zoneOf(fleet, name) ?? [])),
})

/** 1 for a node whose zone has a sibling already. */
export const crowding = (fleet: FleetSnapshot, nodeName: string, { zones }: Siblings): 0 | 1 =>
  zones.has(zoneOf(fleet, nodeName) ?? '') ? 1 : 0
