import { API_VERSION, GROUP, type Kind, LABELS } from '#crds/group.ts'
import type { ObjectMeta, OwnerReference } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'

/**
 * Names, labels and owners of what we make. Labels and annotations come from this list alone: those of the admin are never copied to children,
 * for tools that track by label would take the children for theirs and prune them.
 */

export const MANAGER = GROUP

export const instanceName = (stream: string, shard: number, letter = 'a'): string => `${stream}-${shard}-${letter}`
export const claimName = (instance: string): string => `${instance}-queue`
export const serviceName = (stream: string): string => `${stream}-submission`
export const agentName = (stream: string): string => `${stream}-agent`
export const budgetName = (stream: string): string => `${stream}-agent`
/** The Lease of a shard, and the EndpointSlice in which its primary announces itself. */
export const recordName = (stream: string, shard: number): string => `${stream}-${shard}`
export const endpointSliceName = recordName
export const shardBudgetName = (stream: string, shard: number): string => `${stream}-${shard}-agent`
export const authorityName = (stream: string): string => `${stream}-replication-ca`
export const certificateName = (instance: string): string => `${instance}-replication`

/** What selects the Pods of a stream, and nothing else. */
export const podSelector = (stream: SendingStream): Record<string, string> => ({
  [LABELS.stream]: stream.metadata.name,
  [LABELS.component]: 'agent',
})

export const shardSelector = (stream: SendingStream, shard: number): Record<string, string> => ({
  ...podSelector(stream),
  [LABELS.shard]: String(shard),
})

/** Of podSelector as text, for /scale. */
export const formatSelector = (stream: SendingStream): string =>
  Object.entries(podSelector(stream))
    .map(([label, value]) => `${label}=${value}`)
    .join(',')

export const streamLabels = (stream: SendingStream): Record<string, string> => ({
  [LABELS.name]: 'mtafleet',
  [LABELS.managedBy]: MANAGER,
  [LABELS.stream]: stream.metadata.name,
})

export const shardLabels = (stream: SendingStream, shard: number): Record<string, string> => ({
  ...streamLabels(stream),
  [LABELS.shard]: String(shard),
})

export const instanceLabels = (instance: MTAInstance): Record<string, string> => ({
  [LABELS.name]: 'mtafleet',
  [LABELS.managedBy]: MANAGER,
  [LABELS.stream]: instance.spec.streamRef.name,
  [LABELS.instance]: instance.metadata.name,
  [LABELS.shard]: String(instance.spec.shard),
  [LABELS.class]: instance.spec.class,
})

/**
 * No blockOwnerDeletion: a foreground deletion of the owner (Argo CD prunes so) would delete the children first, and mail would have no process
 * while its stream is still draining.
 */
export const ownedBy = (kind: Kind, { metadata }: { readonly metadata: ObjectMeta }): readonly OwnerReference[] => [
  { apiVersion: API_VERSION, kind, name: metadata.name, uid: metadata.uid ?? '', controller: true },
]
