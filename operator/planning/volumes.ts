import { claimName } from './objects/metadata.ts'
import { findObject, type FleetSnapshot, type Node, type NodeRequirement, type Volume } from './snapshot.ts'

/** Where a queue volume is. A local volume never moves, so an instance that adopts one must go where it is. */

export type VolumePlace =
  /** No volume yet: the instance may go anywhere. */
  | { readonly kind: 'unbound' }
  /** A volume that only these nodes reach; `names` may hold nodes that do not exist now. */
  | { readonly kind: 'bound'; readonly nodes: ReadonlySet<string> }

export function placeOfVolume(fleet: FleetSnapshot, namespace: string | undefined, instance: string): VolumePlace {
  const claim = findObject(fleet.claims, namespace, claimName(instance))
  const volumeName = claim?.spec?.volumeName
  if (volumeName === undefined) return { kind: 'unbound' }
  const volume = findObject(fleet.volumes, undefined, volumeName)
  const terms = volume?.spec?.nodeAffinity?.required?.nodeSelectorTerms
  if (volume === undefined || terms === undefined) return { kind: 'unbound' }
  const present = fleet.nodes.filter((node) => reaches(volume, node)).map((node) => node.metadata.name)
  return { kind: 'bound', nodes: new Set([...present, ...namedIn(volume)]) }
}

export const reaches = (volume: Volume, node: Node): boolean => {
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms
  if (terms === undefined) return true
  return terms.some(
    (term) =>
      (term.matchExpressions ?? []).every((requirement) => meets(node.metadata.labels ?? {}, requirement)) &&
      (term.matchFields ?? []).every((requirement) => meets({ 'metadata.name': node.metadata.name }, requirement)),
  )
}

/** Local volumes name their node; that is known even while the Node object is gone. */
const namedIn = (volume: Volume): readonly string[] =>
  (volume.spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [])
    .flatMap((term) => [...(term.matchExpressions ?? []), ...(term.matchFields ?? [])])
    .filter(({ key, operator }) => operator === 'In' && (key === 'kubernetes.io/hostname' || key === 'metadata.name'))
    .flatMap(({ values }) => values ?? [])

const meets = (labels: Readonly<Record<string, string>>, { key, operator, values = [] }: NodeRequirement): boolean => {
  const test = OPERATORS.get(operator)
  if (test === undefined) {
    throw new RangeError(`operator of a node requirement must be ${[...OPERATORS.keys()].join(', ')}, was '${operator}'`)
  }
  return test(labels[key], values)
}

/** As the scheduler reads them (NodeSelectorOperator). */
const OPERATORS: ReadonlyMap<string, (value: string | undefined, values: readonly string[]) => boolean> = new Map([
  ['In', (value, values) => value !== undefined && values.includes(value)],
  ['NotIn', (value, values) => value === undefined || !values.includes(value)],
  ['Exists', (value) => value !== undefined],
  ['DoesNotExist', (value) => value === undefined],
  ['Gt', (value, values) => value !== undefined && Number(value) > Number(values[0])],
  ['Lt', (value, values) => value !== undefined && Number(value) < Number(values[0])],
])
