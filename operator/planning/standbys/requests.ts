import { formatPromotion, parsePromotion } from '#agent/contract/requests.ts'
import { findCondition } from '#crds/conditions.ts'
import { ANNOTATIONS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { findWaitedFor, isOutdated } from '../rollout.ts'
import { findObject, type FleetSnapshot, instancesOf, isDeleting } from '../snapshot.ts'
import { isAlive, isHolder, isInSync, isReplicated, isSeenRunning, shardOf } from './shard.ts'

/**
 * What the operator asks of agents, by annotation: a primary to hand over, a standby to take over although its copy is not in the set. Both name what they are
 * about (the epoch that shall end, the version of the record), so one that stands there too long is nothing.
 */

/** Annotations of the instance. */
export function requestsTo(
  fleet: FleetSnapshot,
  stream: SendingStream,
  instance: MTAInstance | undefined,
  now: number,
): Readonly<Record<string, string>> {
  if (instance === undefined || !isReplicated(fleet, stream)) return {}
  const switchover = planSwitchover(fleet, stream, instance, now)
  const promotion = judgePromotion(fleet, stream, instance)
  return {
    ...(switchover === undefined ? {} : { [ANNOTATIONS.switchover]: String(switchover.epoch) }),
    ...(promotion?.kind === 'granted' ? { [ANNOTATIONS.promoteGranted]: promotion.text } : {}),
  }
}

export type Handover = { readonly epoch: number; readonly heir: string }

/** A primary hands over when its node is being emptied, when its Pod is the next to be replaced, and when its volume is full and another one's is not. */
export function planSwitchover(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance, now: number): Handover | undefined {
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  if (record === undefined || !isHolder(record, instance.metadata.name) || isDeleting(instance)) return undefined
  const heirs = listHeirs(fleet, stream, instance)
  const [heir] = mustLeave(fleet, instance) ? heirs : isFull(instance) && hasReigned(instance, now) ? heirs.filter(hasRoom) : []
  return heir === undefined ? undefined : { epoch: record.epoch, heir: heir.metadata.name }
}

const mustLeave = (fleet: FleetSnapshot, instance: MTAInstance): boolean =>
  isEmptied(fleet, instance) || (isOutdated(fleet, instance) && findWaitedFor(fleet, instance) === undefined)

/** Standbys that have everything, work, and are not on their way out themselves. */
function listHeirs(fleet: FleetSnapshot, stream: SendingStream, primary: MTAInstance): readonly MTAInstance[] {
  const { record } = shardOf(fleet, stream, primary.spec.shard)
  return instancesOf(fleet, stream).filter(
    (one) =>
      one.metadata.uid !== primary.metadata.uid &&
      one.spec.shard === primary.spec.shard &&
      !isDeleting(one) &&
      isInSync(record, one.metadata.name) &&
      isAlive(fleet, one) &&
      !isEmptied(fleet, one),
  )
}

const storageOf = ({ status }: MTAInstance) => findCondition(status?.conditions, 'StorageAvailable')?.status
/** Its clients are told 452. */
const isFull = (instance: MTAInstance): boolean => storageOf(instance) === 'False'
const hasRoom = (instance: MTAInstance): boolean => storageOf(instance) === 'True'

/** Two that are both nearly full do not hand over to each other again and again. */
const FULL_AGAIN_MILLIS = 600_000

const hasReigned = (instance: MTAInstance, now: number): boolean => reignLeft(instance, now) <= 0

/** Until one that was handed over to may hand over for being full; 0 or less: it may. */
function reignLeft({ status }: MTAInstance, now: number): number {
  const { reason, at } = status?.agent?.replication?.lastFailover ?? {}
  return reason !== 'Switchover' || at === undefined ? 0 : Date.parse(at) + FULL_AGAIN_MILLIS - now
}

/** Milliseconds until a full primary of the stream may hand over, which nothing else would bring up; undefined when none waits for that. */
export function fullMayLeaveAfter(fleet: FleetSnapshot, stream: SendingStream, now: number): number | undefined {
  const waiting = instancesOf(fleet, stream)
    .filter((one) => isFull(one) && isHolder(shardOf(fleet, stream, one.spec.shard).record, one.metadata.name))
    .map((one) => reignLeft(one, now))
    .filter((left) => left > 0)
  return waiting.length === 0 ? undefined : Math.min(...waiting)
}

/** Cordoned, or no longer there: no proof of anything, but reason enough to leave. */
const isEmptied = (fleet: FleetSnapshot, { spec }: MTAInstance): boolean => {
  if (spec.nodeName === undefined) return false
  const node = findObject(fleet.nodes, undefined, spec.nodeName)
  return node === undefined || node.spec?.unschedulable === true
}

export type PromotionVerdict =
  | { readonly kind: 'granted'; readonly text: string; readonly epoch: number; readonly holder: string }
  | { readonly kind: 'refused'; readonly because: string }

/** R9. Undefined when nobody asks. The admin says that the primary is down; what can be seen must not say otherwise. */
export function judgePromotion(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): PromotionVerdict | undefined {
  const asked = instance.metadata.annotations?.[ANNOTATIONS.promote]
  if (asked === undefined) return undefined
  const refuse = (because: string): PromotionVerdict => ({ kind: 'refused', because })
  const promotion = parsePromotion(asked)
  if (promotion === undefined) return refuse(`the annotation must be RESOURCEVERSION or "RESOURCEVERSION incomplete", was "${asked}"`)
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  if (record === undefined) return refuse('the shard must have a record that can be read')
  if (record.version !== promotion.recordVersion) {
    return refuse(`the annotation must name resourceVersion ${record.version} of the record, named ${promotion.recordVersion}`)
  }
  if (isInSync(record, instance.metadata.name)) return refuse('its copy is in the set: it takes over by itself')
  const living = instancesOf(fleet, stream).find(
    (one) => one.spec.shard === instance.spec.shard && isInSync(record, one.metadata.name) && isSeenRunning(fleet, one),
  )
  if (living !== undefined) return refuse(`'${living.metadata.name}', whose copy is in the set, must be down, but its Pod is seen running`)
  return { kind: 'granted', text: formatPromotion(promotion), epoch: record.epoch, holder: record.holder.instance }
}
