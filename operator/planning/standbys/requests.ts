import { formatPromotion, parsePromotion } from '#agent/contract/requests.ts'
import { ANNOTATIONS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { findWaitedFor, isOutdated } from '../rollout.ts'
import { findObject, findPodCondition, type FleetSnapshot, hasEnded, instancesOf, isDeleting, podOf } from '../snapshot.ts'
import { isAlive, isHolder, isInSync, isReplicated, shardOf } from './shard.ts'

/**
 * What the operator asks of agents, by annotation: a primary to hand over, a standby to take over although its copy is not in the set. Both name what they are
 * about (the epoch that shall end, the version of the record), so one that stands there too long is nothing.
 */

/** Annotations of the instance. */
export function requestsTo(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): Readonly<Record<string, string>> {
  if (!isReplicated(fleet, stream)) return {}
  const switchover = planSwitchover(fleet, stream, instance)
  const promotion = judgePromotion(fleet, stream, instance)
  return {
    ...(switchover === undefined ? {} : { [ANNOTATIONS.switchover]: String(switchover.epoch) }),
    ...(promotion?.kind === 'granted' ? { [ANNOTATIONS.promoteGranted]: promotion.text } : {}),
  }
}

export type Handover = { readonly epoch: number; readonly why: string; readonly heir: string }

/** A primary hands over when its node is being emptied, and when its Pod is the next to be replaced. */
export function planSwitchover(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): Handover | undefined {
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  if (record === undefined || !isHolder(record, instance.metadata.name) || isDeleting(instance)) return undefined
  const heir = findHeir(fleet, stream, instance)
  if (heir === undefined) return undefined
  const { epoch } = record
  if (isEmptied(fleet, instance)) return { epoch, heir, why: `node '${instance.spec.nodeName}' is being emptied` }
  const isNext = isOutdated(fleet, instance) && findWaitedFor(fleet, instance) === undefined
  return isNext ? { epoch, heir, why: 'its Pod is to be replaced' } : undefined
}

/** A standby that has everything, works, and is not on its way out itself. */
export function findHeir(fleet: FleetSnapshot, stream: SendingStream, primary: MTAInstance): string | undefined {
  const { record } = shardOf(fleet, stream, primary.spec.shard)
  return instancesOf(fleet, stream).find(
    (one) =>
      one.metadata.uid !== primary.metadata.uid &&
      one.spec.shard === primary.spec.shard &&
      !isDeleting(one) &&
      isInSync(record, one.metadata.name) &&
      isAlive(fleet, one) &&
      !isEmptied(fleet, one),
  )?.metadata.name
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

/** A Pod on a node that is silent says nothing. */
function isSeenRunning(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const pod = podOf(fleet, instance)
  if (pod === undefined || hasEnded(pod)) return false
  const node = findObject(fleet.nodes, undefined, pod.spec?.nodeName ?? '')
  const isNodeReady = findPodCondition(node?.status?.conditions, 'Ready')?.status === 'True'
  return isNodeReady && (pod.status?.containerStatuses ?? []).some(({ state }) => state?.running !== undefined)
}
