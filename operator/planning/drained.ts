import { findCondition } from '#crds/conditions.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { claimName } from './objects/metadata.ts'
import { findObject, type FleetSnapshot, isDeleting, podOf } from './snapshot.ts'

/** Whether an instance may go without leaving mail behind. Only the agent knows; what it said about an earlier spec does not count. */

/**
 * The agent says that its queue is empty while it drains. Deletion itself makes one more generation, which changes nothing in the spec: an
 * instance that was drained before is still drained.
 */
export function isDrained(instance: MTAInstance): boolean {
  const { generation = 0 } = instance.metadata
  const asked = isDeleting(instance) ? generation - 1 : generation
  const drained = findCondition(instance.status?.conditions, 'Drained')
  return (
    instance.spec.mode === 'Drain' &&
    drained?.status === 'True' &&
    (drained.observedGeneration ?? 0) >= asked &&
    (instance.status?.agent?.observedGeneration ?? 0) >= asked
  )
}

/** Without a volume there never was a queue, once no Pod is left that could still get one. */
export function hasNoVolume(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const claim = findObject(
    fleet.claims,
    instance.metadata.namespace,
    instance.spec.queue.volumeClaimName ?? claimName(instance.metadata.name),
  )
  return claim?.spec?.volumeName === undefined && podOf(fleet, instance)?.spec?.nodeName === undefined
}

export const isEmpty = (fleet: FleetSnapshot, instance: MTAInstance): boolean => isDrained(instance) || hasNoVolume(fleet, instance)

/** Messages still in the queue, as the agent counted them last; undefined when it never did. */
export const messagesIn = (instance: MTAInstance): number | undefined => instance.status?.agent?.queue?.messages

/** `3 messages`, `1 message`, `an unknown number of messages`. */
export const formatMessages = (count: number | undefined): string => {
  if (count === undefined) return 'an unknown number of messages'
  return count === 1 ? '1 message' : `${count} messages`
}
