import { parseRecord, type ShardRecord, UnreadableRecord } from '#agent/contract/record.ts'
import { LABELS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { recordName } from '../objects/metadata.ts'
import { findObject, findPodCondition, type FleetSnapshot, hasEnded, isDeleting, type Lease, podOf } from '../snapshot.ts'
import { standbysOf } from './wishes.ts'

/**
 * A shard as its record shows it. The cache may be behind: what follows from this must be safe with any older record, or ask the agents, who read
 * the record itself.
 */

export type ShardFacts = {
  readonly lease: Lease | undefined
  /** Undefined: there is none, or it cannot be read. */
  readonly record: ShardRecord | undefined
  /** Why the record cannot be read. */
  readonly unreadable?: string
}

export function shardOf(fleet: FleetSnapshot, stream: SendingStream, shard: number): ShardFacts {
  const lease = findObject(fleet.leases, stream.metadata.namespace, recordName(stream.metadata.name, shard))
  if (lease === undefined) return { lease, record: undefined }
  try {
    return { lease, record: parseRecord(lease) }
  } catch (error) {
    if (!(error instanceof UnreadableRecord)) throw error
    return { lease, record: undefined, unreadable: error.message }
  }
}

/** Every shard that has a record, whether it is wanted or not. */
export const recordedShards = (fleet: FleetSnapshot, stream: SendingStream): readonly number[] =>
  fleet.leases
    .filter(({ metadata }) => metadata.namespace === stream.metadata.namespace && metadata.labels?.[LABELS.stream] === stream.metadata.name)
    .map(({ metadata }) => Number(metadata.labels?.[LABELS.shard]))
    .filter((shard) => Number.isSafeInteger(shard) && shard >= 0)
    .toSorted((a, b) => a - b)

/** Once replicated, always: an agent that forgot its record could act while another one claims it. */
export const isReplicated = (fleet: FleetSnapshot, stream: SendingStream): boolean =>
  standbysOf(stream) > 0 || recordedShards(fleet, stream).length > 0

/** The instance, a copy of which is in the set. */
export const isInSync = (record: ShardRecord | undefined, instance: string): boolean =>
  record?.inSync.some((copy) => copy.instance === instance) === true

export const isHolder = (record: ShardRecord | undefined, instance: string): boolean => record?.holder.instance === instance

/** Its Pod is there and its readiness probe passes. */
export function isAlive(fleet: FleetSnapshot, instance: MTAInstance | undefined): boolean {
  const pod = instance === undefined ? undefined : podOf(fleet, instance)
  return pod !== undefined && !isDeleting(pod) && findPodCondition(pod.status?.conditions, 'Ready')?.status === 'True'
}

/** A Pod on a node that is silent says nothing. */
export function isSeenRunning(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const pod = podOf(fleet, instance)
  if (pod === undefined || hasEnded(pod)) return false
  const node = findObject(fleet.nodes, undefined, pod.spec?.nodeName ?? '')
  const isNodeReady = findPodCondition(node?.status?.conditions, 'Ready')?.status === 'True'
  return isNodeReady && (pod.status?.containerStatuses ?? []).some(({ state }) => state?.running !== undefined)
}
