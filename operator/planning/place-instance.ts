import type { Placement, Toleration } from '#crds/sending-stream.ts'
import { byText, findObject, type FleetSnapshot, type Node, type Taint } from './snapshot.ts'
import { crowding, type Siblings } from './standbys/siblings.ts'
import type { VolumePlace } from './volumes.ts'

/**
 * Which node a new instance goes to: among the nodes that have addresses of its pool, the one with the fewest instances, then by name. A node
 * takes as many instances as it has addresses, for each must have one of its own. Never one that has another instance of the shard, and better one of a zone that has none.
 */

/** One node of the pool: how many instances it can serve, and how many it has. */
export type Site = { readonly nodeName: string; readonly capacity: number; readonly instances: number }

export type Place =
  | { readonly kind: 'node'; readonly nodeName: string }
  | { readonly kind: 'none'; readonly because: 'VolumeElsewhere' | 'PoolExhausted' | 'NoNodeFits'; readonly message: string }

/** How the pool is spoken of: when no node will do, when it has none at all, and of a volume's node that it does not have. */
export type Words = { readonly none: string; readonly empty: string; readonly elsewhere: string }

export function placeInstance(
  fleet: FleetSnapshot,
  sites: readonly Site[],
  wanted: { readonly placement: Placement | undefined; readonly volume: VolumePlace; readonly siblings: Siblings },
  words: Words,
): Place {
  const { placement, volume, siblings } = wanted
  if (volume.kind === 'bound') return placeAtVolume(sites, volume.nodes, siblings, words)
  const judged = sites.map((site) => ({ site, no: refuseSite(fleet, site, placement) ?? refuseSibling(site, siblings) }))
  const [best] = judged
    .filter(({ no }) => no === undefined)
    .map(({ site }) => site)
    .toSorted(
      (a, b) =>
        crowding(fleet, a.nodeName, siblings) - crowding(fleet, b.nodeName, siblings) ||
        a.instances - b.instances ||
        byText(a.nodeName, b.nodeName),
    )
  if (best !== undefined) return { kind: 'node', nodeName: best.nodeName }
  const because = judged.length > 0 && judged.every(({ no }) => no === FULL) ? 'PoolExhausted' : 'NoNodeFits'
  const reasons = judged
    .toSorted((a, b) => byText(a.site.nodeName, b.site.nodeName))
    .map(({ site, no }) => `'${site.nodeName}' ${no === FULL ? `has ${site.capacity} and ${site.instances} in use` : no}`)
  const more = reasons.length > SHOWN ? `; and ${reasons.length - SHOWN} more` : ''
  return { kind: 'none', because, message: `${words.none}: ${reasons.slice(0, SHOWN).join('; ') || words.empty}${more}` }
}

const SHOWN = 16

/** The volume holds mail: its node is right even when it is cordoned or no longer selected; then the scheduler says so. */
function placeAtVolume(sites: readonly Site[], nodes: ReadonlySet<string>, siblings: Siblings, words: Words): Place {
  const taken = sites.find(({ nodeName }) => nodes.has(nodeName) && siblings.nodes.has(nodeName))
  if (taken !== undefined) {
    return { kind: 'none', because: 'NoNodeFits', message: `the queue volume is on '${taken.nodeName}', which ${HAS_SIBLING}` }
  }
  const reachable = sites.filter((site) => nodes.has(site.nodeName))
  const [best] = reachable
    .filter((site) => site.instances < site.capacity)
    .toSorted((a, b) => a.instances - b.instances || byText(a.nodeName, b.nodeName))
  if (best !== undefined) return { kind: 'node', nodeName: best.nodeName }
  const where = [...nodes].toSorted().join(', ')
  if (reachable.length === 0) {
    return { kind: 'none', because: 'VolumeElsewhere', message: `the queue volume is on '${where}', ${words.elsewhere}` }
  }
  const message = `the queue volume is on '${where}', where every address of the pool has its instance`
  return { kind: 'none', because: 'PoolExhausted', message }
}

const FULL = 'is full'
const HAS_SIBLING = 'has another instance of the shard'

const refuseSibling = ({ nodeName }: Site, { nodes }: Siblings): string | undefined => (nodes.has(nodeName) ? HAS_SIBLING : undefined)

/** Undefined when an instance may go there, otherwise why not. */
const refuseSite = (fleet: FleetSnapshot, site: Site, placement: Placement | undefined): string | undefined =>
  refuseNode(fleet, site.nodeName, placement) ?? (site.instances < site.capacity ? undefined : FULL)

/** Why the scheduler will not put a Pod of that placement on the node; undefined when nothing that is known here speaks against it. */
export function refuseNode(fleet: FleetSnapshot, nodeName: string, placement: Placement | undefined): string | undefined {
  const node = findObject(fleet.nodes, undefined, nodeName)
  if (node === undefined) return 'does not exist'
  if (node.spec?.unschedulable === true) return 'is cordoned'
  const missing = lacksLabel(node, placement?.nodeSelector)
  if (missing !== undefined) return `lacks the label ${missing}`
  const taint = untolerated(node, placement?.tolerations ?? [])
  return taint === undefined ? undefined : `has the taint ${taint.key}:${taint.effect}`
}

/** The first one; undefined when the node has them all. */
export function lacksLabel({ metadata }: Node, selector: Readonly<Record<string, string>> = {}): string | undefined {
  const missing = Object.entries(selector).find(([key, value]) => metadata.labels?.[key] !== value)
  return missing === undefined ? undefined : `${missing[0]}=${missing[1]}`
}

const untolerated = (node: Node, tolerations: readonly Toleration[]): Taint | undefined =>
  (node.spec?.taints ?? []).find((taint) => taint.effect !== 'PreferNoSchedule' && !tolerations.some((one) => tolerates(one, taint)))

const tolerates = (toleration: Toleration, taint: Taint): boolean => {
  if (toleration.effect !== undefined && toleration.effect !== taint.effect) return false
  if (toleration.operator === 'Exists') return (toleration.key ?? '') === '' || toleration.key === taint.key
  return toleration.key === taint.key && (toleration.value ?? '') === (taint.value ?? '')
}
