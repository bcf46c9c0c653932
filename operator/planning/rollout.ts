import { ANNOTATIONS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Manifest } from './change.ts'
import { buildPod, CONTAINER } from './objects/pod.ts'
import {
  byName,
  findObject,
  findPodCondition,
  type FleetSnapshot,
  instancesOf,
  isControlledBy,
  isDeleting,
  type Pod,
  podOf,
} from './snapshot.ts'
import { isHolder, isInSync, isReplicated, shardOf } from './standbys/shard.ts'

/** In which order the Pods of a stream are replaced when their template changes: one at a time, standbys before their primary. */

/** Why the Pod is not as it shall be; undefined when it is. */
export function explainOutdated(pod: Pod, desired: Manifest): string | undefined {
  const wanted = desired.metadata.annotations?.[ANNOTATIONS.podHash]
  if (pod.metadata.annotations?.[ANNOTATIONS.podHash] === wanted) return undefined
  const spec = desired['spec'] as { readonly containers: readonly { readonly name: string; readonly image: string }[] }
  const was = pod.spec?.containers?.find(({ name }) => name === CONTAINER)?.image
  const is = spec.containers.find(({ name }) => name === CONTAINER)?.image
  return was === is ? 'its Pod template has changed' : `image ${was} becomes ${is}`
}

export const isReady = (pod: Pod): boolean => !isDeleting(pod) && findPodCondition(pod.status?.conditions, 'Ready')?.status === 'True'

export const isOutdated = (fleet: FleetSnapshot, instance: MTAInstance): boolean => {
  const pod = podOf(fleet, instance)
  return pod !== undefined && explainOutdated(pod, buildPod(instance, fleet.settings)) !== undefined
}

/**
 * Whom a Pod that works waits for before it may be replaced. All plans of a stream name the same one as next, so two that are made at once
 * cannot both go ahead.
 */
export function findWaitedFor(fleet: FleetSnapshot, instance: MTAInstance): string | undefined {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  if (stream === undefined) return undefined
  const others = fleet.instances
    .filter((other) => isControlledBy(other, stream) && other.metadata.uid !== instance.metadata.uid && !isDeleting(other))
    .toSorted(byName)
  const broken = others.find((other) => {
    const pod = podOf(fleet, other)
    return other.spec.mode === 'Run' && (pod === undefined || !isReady(pod)) && !waitsForRecord(fleet, stream, other)
  })
  if (broken !== undefined) return `${broken.metadata.name} is ready`
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  const isPrimary = (one: MTAInstance): boolean => isHolder(shardOf(fleet, stream, one.spec.shard).record, one.metadata.name)
  // Whoever takes a copy away while another one is not complete leaves the mail on one disk.
  const behind = others.find(
    (other) => other.spec.shard === instance.spec.shard && record !== undefined && !isInSync(record, other.metadata.name),
  )
  if (behind !== undefined) return `${behind.metadata.name} is in sync`
  const rank = (one: MTAInstance): string => `${isPrimary(one) ? 1 : 0} ${one.metadata.name}`
  const earlier = others.find((other) => rank(other) < rank(instance) && isOutdated(fleet, other))
  return earlier === undefined ? undefined : `that of ${earlier.metadata.name}`
}

/** A standby whose shard has no primary yet: it can only be ready when the first one has been replaced. */
const waitsForRecord = (fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): boolean =>
  isReplicated(fleet, stream) &&
  shardOf(fleet, stream, instance.spec.shard).lease === undefined &&
  instancesOf(fleet, stream).some(({ metadata, spec }) => spec.shard === instance.spec.shard && metadata.name < instance.metadata.name)
