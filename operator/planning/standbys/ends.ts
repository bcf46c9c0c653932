import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { isEmpty } from '../drained.ts'
import { findObject, type FleetSnapshot, instancesOf, isDeleting } from '../snapshot.ts'
import { isAlive, isHolder, isInSync, shardOf } from './shard.ts'

/**
 * When an instance with a record may go. What counts is the primary's queue: a standby's is a copy of it. A volume never goes while its copy is in the set, for
 * then it may be what the next primary begins with; the primary takes it out when the instance no longer answers.
 */

/** Of a shard that is no longer wanted: the standbys when the primary says that nothing is left, then the primary. */
export function mayLeave(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): boolean {
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  if (record === undefined) return isEmpty(fleet, instance)
  const { holder } = record
  if (isHolder(record, instance.metadata.name)) return isEmpty(fleet, instance) && siblings(fleet, stream, instance).length === 0
  const primary = siblings(fleet, stream, instance).find(({ metadata }) => metadata.name === holder.instance)
  return primary !== undefined && isEmpty(fleet, primary) && !hasAside(instance)
}

/** Of a shard that stays: a standby too many, while a primary works without it. */
export function mayRetire(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): boolean {
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  if (record === undefined || isHolder(record, instance.metadata.name) || hasAside(instance)) return false
  return isAlive(
    fleet,
    siblings(fleet, stream, instance).find(({ metadata }) => isHolder(record, metadata.name)),
  )
}

/** Its Pod is gone, and its primary, which is there, has not yet taken its copy out of the set. */
export function mustLeaveSet(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  if (stream === undefined) return false
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  if (record === undefined || isHolder(record, instance.metadata.name) || !isInSync(record, instance.metadata.name)) return false
  return siblings(fleet, stream, instance).some((one) => isHolder(record, one.metadata.name) && !isDeleting(one))
}

/** Whether the shard's mail is on its volume and on no other, so that its own queue is what counts. */
export function isAlone(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  const record = stream === undefined ? undefined : shardOf(fleet, stream, instance.spec.shard).record
  return isHolder(record, instance.metadata.name) && record?.inSync.every((copy) => copy.instance === instance.metadata.name) === true
}

/** Whether its volume is a copy that nobody needs: others have all that is in it. */
export function isSpareCopy(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  if (stream === undefined) return false
  const { record } = shardOf(fleet, stream, instance.spec.shard)
  return (
    record !== undefined && !isInSync(record, instance.metadata.name) && !isHolder(record, instance.metadata.name) && isKnownBare(instance)
  )
}

/** What was set aside is mail that nobody else has. */
const hasAside = ({ status }: MTAInstance): boolean => (status?.agent?.replication?.setAside ?? 0) > 0
const isKnownBare = ({ status }: MTAInstance): boolean => status?.agent?.replication !== undefined && !hasAside({ status } as MTAInstance)

const siblings = (fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance): readonly MTAInstance[] =>
  instancesOf(fleet, stream).filter(({ metadata, spec }) => spec.shard === instance.spec.shard && metadata.name !== instance.metadata.name)
