import { FINALIZERS, LABELS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { type Change, type EventNote, refTo, setFinalizers } from '../change.ts'
import { endpointSliceName } from '../objects/metadata.ts'
import { buildEndpointSlice, buildRecord } from '../objects/shard-children.ts'
import { isOutdated } from '../rollout.ts'
import { type Entry, shardsOf } from '../roster.ts'
import { familyOf } from '../share-addresses.ts'
import { byText, findObject, type FleetSnapshot, isControlledBy, isDeleting, type Lease, podOf } from '../snapshot.ts'
import { addressOf } from './peers.ts'
import { isReplicated, recordedShards, shardOf } from './shard.ts'

/**
 * The record and the endpoints of each shard. A record is made once in a shard's life, with the copy of the first primary as the whole set, and never again by
 * itself: whoever makes one anew decides which copy of the mail is the true one, and that is a person's business.
 */

export type ShardPlan = { readonly changes: readonly Change[]; readonly events: readonly EventNote[] }

export function planShards(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): ShardPlan {
  if (!isReplicated(fleet, stream)) return { changes: [], events: [] }
  const records = shardsOf(roster).flatMap((shard) => planRecord(fleet, stream, shard, roster))
  const slices = shardsOf(roster).flatMap((shard) => planEndpointSlice(fleet, stream, shard, roster))
  const old = recordedShards(fleet, stream).filter((shard) => !shardsOf(roster).includes(shard))
  return {
    changes: [
      ...slices,
      ...records.map(({ change }) => change),
      ...old.flatMap((shard) => forgetRecord(fleet, stream, shard)),
      ...planOldEndpointSlices(fleet, stream, roster),
    ],
    events: records.flatMap(({ events }) => events),
  }
}

type RecordChange = { readonly change: Change; readonly events: readonly EventNote[] }

function planRecord(fleet: FleetSnapshot, stream: SendingStream, shard: number, roster: readonly Entry[]): readonly RecordChange[] {
  const { lease } = shardOf(fleet, stream, shard)
  if (lease !== undefined) {
    // A stream that was made again takes up the record of the one before it.
    const isHeld = isDeleting(lease) || finalizersOf(lease).includes(FINALIZERS.record)
    return isHeld ? [] : [{ change: setFinalizers(refToLease(lease), lease, [...finalizersOf(lease), FINALIZERS.record]), events: [] }]
  }
  const first = wasRecorded(stream, shard) ? undefined : firstPrimary(fleet, shard, roster)
  if (first === undefined) return []
  const event: EventNote = {
    regarding: refTo(stream.apiVersion, stream.kind, stream),
    type: 'Normal',
    reason: 'RecordCreated',
    action: 'CreateRecord',
    note: `shard ${shard} begins with ${first.instance} as its first primary`,
  }
  return [{ change: { kind: 'create', object: buildRecord(stream, shard, first) }, events: [event] }]
}

/** The status names an epoch once the record was there. If it is gone since, only a person can tell which copy to begin with. */
export const wasRecorded = (stream: SendingStream, shard: number): boolean => epochBefore(stream, shard) !== undefined

/** As the status has it. */
export const epochBefore = (stream: SendingStream, shard: number): number | undefined =>
  stream.status?.shards?.find((one) => one.shard === shard)?.epoch

/**
 * The first by name, and nobody in its place: it is the one that was there before there were standbys, and its volume may hold mail. Not before its process
 * is one that knows of standbys.
 */
function firstPrimary(fleet: FleetSnapshot, shard: number, roster: readonly Entry[]) {
  const [first] = roster.filter((entry) => entry.shard === shard && entry.fate === 'Serves').toSorted((a, b) => byText(a.name, b.name))
  const { instance } = first ?? {}
  const replication = instance?.status?.agent?.replication
  if (instance === undefined || replication === undefined || !isCurrent(fleet, instance)) return undefined
  return { instance: instance.metadata.name, incarnation: replication.incarnation, copy: replication.copyId }
}

const isCurrent = (fleet: FleetSnapshot, instance: MTAInstance): boolean =>
  !isDeleting(instance) &&
  podOf(fleet, instance) !== undefined &&
  !isOutdated(fleet, instance) &&
  (instance.status?.agent?.observedGeneration ?? 0) >= (instance.metadata.generation ?? 0)

/** Its family is that of the nodes, and cannot change. */
function planEndpointSlice(fleet: FleetSnapshot, stream: SendingStream, shard: number, roster: readonly Entry[]): readonly Change[] {
  const { namespace } = stream.metadata
  if (findObject(fleet.endpointSlices, namespace, endpointSliceName(stream.metadata.name, shard)) !== undefined) return []
  const nodes = roster.filter((entry) => entry.shard === shard).flatMap(({ instance }) => instance?.spec.nodeName ?? [])
  const address = nodes.flatMap((nodeName) => addressOf(fleet, nodeName) ?? [])[0]
  return address === undefined ? [] : [{ kind: 'create', object: buildEndpointSlice(stream, shard, familyOf(address)) }]
}

/** With its volumes, when the shard is gone; otherwise it stays with them. */
function forgetRecord(fleet: FleetSnapshot, stream: SendingStream, shard: number): readonly Change[] {
  const { lease } = shardOf(fleet, stream, shard)
  if (lease === undefined || hasVolumes(fleet, stream, shard)) return []
  return [...letGo(lease), ...(isDeleting(lease) ? [] : [{ kind: 'delete', ref: refToLease(lease) } as const])]
}

const hasVolumes = (fleet: FleetSnapshot, stream: SendingStream, shard: number): boolean =>
  fleet.claims.some(
    ({ metadata }) =>
      metadata.namespace === stream.metadata.namespace &&
      metadata.labels?.[LABELS.stream] === stream.metadata.name &&
      metadata.labels[LABELS.shard] === String(shard),
  )

/** The last thing a stream does: a record whose volumes stay is left behind for the next stream of that name, and no longer held. */
export function releaseRecords(fleet: FleetSnapshot, stream: SendingStream): readonly Change[] {
  return recordedShards(fleet, stream).flatMap((shard) => {
    const { lease } = shardOf(fleet, stream, shard)
    if (lease === undefined) return []
    return hasVolumes(fleet, stream, shard) ? letGo(lease) : forgetRecord(fleet, stream, shard)
  })
}

/** What is no longer wanted goes with the last instance of its shard. */
const planOldEndpointSlices = (fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): readonly Change[] => {
  const wanted = new Set(shardsOf(roster).map((shard) => endpointSliceName(stream.metadata.name, shard)))
  return fleet.endpointSlices
    .filter((slice) => isControlledBy(slice, stream) && !isDeleting(slice) && !wanted.has(slice.metadata.name))
    .map((slice) => ({ kind: 'delete', ref: refTo('discovery.k8s.io/v1', 'EndpointSlice', slice) }))
}

const letGo = (lease: Lease): readonly Change[] =>
  finalizersOf(lease).includes(FINALIZERS.record)
    ? [
        setFinalizers(
          refToLease(lease),
          lease,
          finalizersOf(lease).filter((one) => one !== FINALIZERS.record),
        ),
      ]
    : []

const finalizersOf = ({ metadata }: Lease): readonly string[] => metadata.finalizers ?? []
const refToLease = (lease: Lease) => refTo('coordination.k8s.io/v1', 'Lease', lease)
