import { formatRecord, type Copy, type Holder } from '#agent/contract/record.ts'
import { ANNOTATIONS, FINALIZERS, GROUP, SLICE_MANAGER } from '#crds/group.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Manifest } from '../change.ts'
import { endpointSliceName, ownedBy, recordName, serviceName, shardBudgetName, shardLabels, shardSelector } from './metadata.ts'

/** What a shard with standbys has once. */

/**
 * The record as it begins. It has no owner: it says which volume holds the newest mail, and must outlive the stream as the volumes do. Never applied: from
 * here on it belongs to the agents.
 */
export function buildRecord(stream: SendingStream, shard: number, first: Holder & Copy): Manifest {
  const { instance, incarnation, copy } = first
  const { annotations, spec } = formatRecord({ holder: { instance, incarnation }, epoch: 1, inSync: [{ instance, copy }], forcedEpoch: 0 })
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name: recordName(stream.metadata.name, shard),
      namespace: stream.metadata.namespace ?? '',
      labels: shardLabels(stream, shard),
      annotations,
      finalizers: [FINALIZERS.record],
    },
    spec,
  }
}

/** Empty until a primary announces itself. Never applied: the primaries write it, and a late write of ours must not take one out again. */
export const buildEndpointSlice = (stream: SendingStream, shard: number, family: 4 | 6): Manifest => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    name: endpointSliceName(stream.metadata.name, shard),
    namespace: stream.metadata.namespace ?? '',
    labels: {
      ...shardLabels(stream, shard),
      [SLICE_MANAGER]: GROUP,
      'kubernetes.io/service-name': serviceName(stream.metadata.name),
    },
    annotations: { [ANNOTATIONS.epoch]: '0' },
    ownerReferences: ownedBy('SendingStream', stream),
  },
  addressType: family === 4 ? 'IPv4' : 'IPv6',
  endpoints: [],
  ports: [],
})

/** One for each shard, for its Pods stand in for each other and for nobody else. */
export const buildShardBudget = (stream: SendingStream, shard: number, minAvailable: number): Manifest => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: {
    name: shardBudgetName(stream.metadata.name, shard),
    namespace: stream.metadata.namespace ?? '',
    labels: shardLabels(stream, shard),
    ownerReferences: ownedBy('SendingStream', stream),
  },
  spec: { minAvailable, selector: { matchLabels: shardSelector(stream, shard) }, unhealthyPodEvictionPolicy: 'AlwaysAllow' },
})
