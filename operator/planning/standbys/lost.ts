import type { SendingStream } from '#crds/sending-stream.ts'
import { findObject, findPodCondition, type FleetSnapshot, instancesOf } from '../snapshot.ts'
import { isAlive, isHolder, isInSync, shardOf } from './shard.ts'
import { failoverOf, standbysOf } from './wishes.ts'

/**
 * Standbys on nodes that will not come back, where the stream wants others in their place (nodeLossPolicy Replace). Nobody is given up whom the shard may
 * need: not the primary, nobody in the set, and nobody while no primary works.
 */

export type Losses = {
  readonly names: ReadonlySet<string>
  /** Milliseconds until another one may count as lost. */
  readonly recheckAfter?: number
}

/** A node that restarts is back by then; a copy of a queue takes about as long. */
const LOST_AFTER_MILLIS = 300_000

export function listLost(fleet: FleetSnapshot, stream: SendingStream, now: number): Losses {
  if (standbysOf(stream) === 0 || failoverOf(stream).nodeLossPolicy !== 'Replace') return { names: new Set() }
  const instances = instancesOf(fleet, stream)
  const candidates = instances.filter((instance) => {
    const { record } = shardOf(fleet, stream, instance.spec.shard)
    if (record === undefined || isHolder(record, instance.metadata.name) || isInSync(record, instance.metadata.name)) return false
    return isAlive(
      fleet,
      instances.find(({ metadata }) => isHolder(record, metadata.name)),
    )
  })
  const judged = candidates.map(({ metadata, spec }) => ({ name: metadata.name, left: timeLeft(fleet, spec.nodeName, now) }))
  const waiting = judged.flatMap(({ left }) => (left === undefined || left <= 0 ? [] : [left]))
  return {
    names: new Set(judged.filter(({ left }) => left !== undefined && left <= 0).map(({ name }) => name)),
    ...(waiting.length === 0 ? {} : { recheckAfter: Math.min(...waiting) }),
  }
}

/** How long the node still has to come back; undefined when there is nothing wrong with it. */
function timeLeft(fleet: FleetSnapshot, nodeName: string | undefined, now: number): number | undefined {
  if (nodeName === undefined) return undefined
  const node = findObject(fleet.nodes, undefined, nodeName)
  if (node === undefined) return 0
  const ready = findPodCondition(node.status?.conditions, 'Ready')
  if (ready === undefined || ready.status === 'True') return undefined
  return Date.parse(ready.lastTransitionTime ?? '') + LOST_AFTER_MILLIS - now
}
