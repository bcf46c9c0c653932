import type { SendingStream } from '#crds/sending-stream.ts'
import type { Claimant } from './assignment.ts'
import { mayRelease } from './address-users.ts'
import { placeInstance, type Place, type Site, type Words } from './place-instance.ts'
import { byText, findObject, type FleetSnapshot } from './snapshot.ts'
import { siblingsOn } from './standbys/siblings.ts'
import { placeOfVolume } from './volumes.ts'

/** Where the instances of a stream may be, as far as the pool has a say in it. */
export type Ground = {
  /** How many instances each node takes. */
  readonly capacities: ReadonlyMap<string, number>
  readonly words: Words
}

/** A node for every claimant: the one it has, or the best one for it; those before it are already there. */
export function placeClaimants(
  fleet: FleetSnapshot,
  stream: SendingStream,
  ground: Ground,
  claimants: readonly Claimant[],
): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>()
  const sorted = claimants.toSorted((a, b) => a.shard - b.shard || byText(a.name, b.name))
  for (const claimant of sorted) {
    const nodeName = claimant.instance?.spec.nodeName
    if (nodeName !== undefined && mustStay(fleet, ground, claimant, nodeName)) places.set(claimant.name, { kind: 'node', nodeName })
  }
  for (const claimant of sorted) {
    const { name, part, instance } = claimant
    if (places.has(name)) continue
    if (part === 'Keeps') {
      const nodeName = instance?.spec.nodeName
      if (nodeName !== undefined) places.set(name, { kind: 'node', nodeName })
      continue
    }
    const volume = placeOfVolume(fleet, stream.metadata.namespace, name)
    const siblings = siblingsOn(fleet, nodesOfSiblings(sorted, places, claimant))
    places.set(name, placeInstance(fleet, sitesOf(ground, places), { placement: stream.spec.placement, volume, siblings }, ground.words))
  }
  return places
}

/** Where the others of its shard shall be or, as long as that is not known, are. */
const nodesOfSiblings = (
  claimants: readonly Claimant[],
  places: ReadonlyMap<string, Place>,
  { name, shard }: Claimant,
): readonly string[] =>
  claimants
    .filter((other) => other.shard === shard && other.name !== name)
    .flatMap((other) => {
      const place = places.get(other.name)
      return (place?.kind === 'node' ? place.nodeName : other.instance?.spec.nodeName) ?? []
    })

/** An instance leaves its node only when the node has nothing for it and its mail is not there. */
function mustStay(fleet: FleetSnapshot, { capacities }: Ground, { instance }: Claimant, nodeName: string): boolean {
  if (instance === undefined) return false
  if (!mayRelease(fleet, instance)) return true
  const volume = placeOfVolume(fleet, instance.metadata.namespace, instance.metadata.name)
  if (volume.kind === 'bound') return volume.nodes.has(nodeName)
  return capacities.has(nodeName) && findObject(fleet.nodes, undefined, nodeName) !== undefined
}

const sitesOf = ({ capacities }: Ground, places: ReadonlyMap<string, Place>): readonly Site[] =>
  [...capacities].map(([nodeName, capacity]) => {
    const instances = [...places.values()].filter((place) => place.kind === 'node' && place.nodeName === nodeName).length
    return { nodeName, capacity, instances }
  })
