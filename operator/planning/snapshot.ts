import type { IPPool } from '#crds/ip-pool.ts'
import type { ObjectMeta } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'

/**
 * Everything a plan may look at: the fleet and its surroundings at one moment, over all namespaces. Whoever makes a snapshot must include the
 * operator's own writes that the caches have not shown yet: a plan made from a world without them would give a port or an address twice.
 * Lists are complete; absence means that there is none. Nothing here is ever changed.
 */
export type FleetSnapshot = {
  readonly streams: readonly SendingStream[]
  readonly pools: readonly IPPool[]
  readonly instances: readonly MTAInstance[]
  readonly pods: readonly Pod[]
  readonly claims: readonly VolumeClaim[]
  readonly volumes: readonly Volume[]
  readonly storageClasses: readonly StorageClass[]
  readonly nodes: readonly Node[]
  readonly secrets: readonly SecretFacts[]
  readonly services: readonly KubeObject[]
  readonly serviceAccounts: readonly KubeObject[]
  readonly roles: readonly KubeObject[]
  readonly roleBindings: readonly KubeObject[]
  readonly disruptionBudgets: readonly KubeObject[]
  /** The records of shards, and no other Leases. */
  readonly leases: readonly Lease[]
  /** Those in which shards announce themselves, and no others. */
  readonly endpointSlices: readonly KubeObject[]
  readonly settings: Settings
}

export type Settings = {
  /** Image of the agent where a stream names none. */
  readonly agentImage: string
  /** Names of Secrets that the kubelet pulls the agents' images with, in the namespace of each stream; one that is missing there is passed over. */
  readonly agentImagePullSecrets: readonly string[]
  /** Ports on the nodes that instances get, both ends included. */
  readonly ports: { readonly first: number; readonly last: number }
}

/** What a Secret offers, never what it says: the values do not reach a plan. */
export type SecretFacts = {
  readonly namespace: string
  readonly name: string
  readonly type: string
  readonly keys: readonly string[]
  /** Whether the operator has made it. Only then is looked at what certificate it holds. */
  readonly isOurs?: boolean
  readonly certificate?: CertificateFacts
}

/** What a certificate says in public. */
export type CertificateFacts = {
  /** Milliseconds since 1970. */
  readonly notAfter: number
  readonly dnsNames: readonly string[]
  /** Fingerprint of the authority that the holder is to trust first. */
  readonly authority: string
}

/** An object as the API server sends it; apiVersion and kind are missing on items of lists. */
export type KubeObject = { readonly metadata: ObjectMeta; readonly [field: string]: unknown }

export type PodCondition = {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime?: string
}

export type ContainerState = {
  readonly waiting?: { readonly reason?: string; readonly message?: string }
  readonly running?: { readonly startedAt?: string }
  readonly terminated?: { readonly exitCode: number; readonly signal?: number; readonly reason?: string; readonly message?: string }
}

export type ContainerStatus = {
  readonly name: string
  readonly ready?: boolean
  readonly restartCount?: number
  readonly state?: ContainerState
  readonly lastState?: ContainerState
}

export type Pod = {
  readonly metadata: ObjectMeta
  readonly spec?: { readonly nodeName?: string; readonly containers?: readonly { readonly name: string; readonly image?: string }[] }
  readonly status?: {
    readonly phase?: string
    readonly reason?: string
    readonly message?: string
    readonly conditions?: readonly PodCondition[]
    readonly initContainerStatuses?: readonly ContainerStatus[]
    readonly containerStatuses?: readonly ContainerStatus[]
  }
}

export type VolumeClaim = {
  readonly metadata: ObjectMeta
  readonly spec?: {
    readonly storageClassName?: string
    readonly volumeName?: string
    readonly resources?: { readonly requests?: Readonly<Record<string, string>> }
  }
  readonly status?: { readonly phase?: string; readonly capacity?: Readonly<Record<string, string>> }
}

export type NodeRequirement = { readonly key: string; readonly operator: string; readonly values?: readonly string[] }

export type Volume = {
  readonly metadata: ObjectMeta
  readonly spec?: {
    readonly storageClassName?: string
    readonly capacity?: Readonly<Record<string, string>>
    readonly nodeAffinity?: {
      readonly required?: {
        readonly nodeSelectorTerms?: readonly {
          readonly matchExpressions?: readonly NodeRequirement[]
          readonly matchFields?: readonly NodeRequirement[]
        }[]
      }
    }
  }
  readonly status?: { readonly phase?: string }
}

export type StorageClass = {
  readonly metadata: ObjectMeta
  readonly provisioner?: string
  readonly allowVolumeExpansion?: boolean
}

export type Taint = { readonly key: string; readonly value?: string; readonly effect: string }

export type Node = {
  readonly metadata: ObjectMeta
  readonly spec?: { readonly unschedulable?: boolean; readonly taints?: readonly Taint[] }
  readonly status?: {
    readonly conditions?: readonly PodCondition[]
    readonly addresses?: readonly { readonly type: string; readonly address: string }[]
  }
}

/** coordination.k8s.io/v1; what it says as a record is in its annotations (mta-agent/contract/record.ts). */
export type Lease = {
  readonly metadata: ObjectMeta
  readonly spec?: {
    readonly holderIdentity?: string
    readonly leaseTransitions?: number
    readonly acquireTime?: string
    readonly renewTime?: string
  }
}

type Named = { readonly metadata: ObjectMeta }

/** The object of that name, if there is one. */
export const findObject = <T extends Named>(objects: readonly T[], namespace: string | undefined, name: string): T | undefined =>
  indexOf(objects).get(`${namespace ?? ''}/${name}`) as T | undefined

/** A list of a snapshot never changes, so what it is found by is worked out once and goes with it. */
const indexes = new WeakMap<readonly Named[], ReadonlyMap<string, Named>>()
function indexOf(objects: readonly Named[]): ReadonlyMap<string, Named> {
  const known = indexes.get(objects)
  if (known !== undefined) return known
  const index = new Map(objects.map((object) => [formatName(object), object]))
  indexes.set(objects, index)
  return index
}

/** `namespace/name`, for messages and for order. */
export const formatName = ({ metadata }: Named): string => `${metadata.namespace ?? ''}/${metadata.name}`

/** By code units, never by locale: the same everywhere. */
export const byText = (a: string, b: string): number => {
  if (a === b) return 0
  return a < b ? -1 : 1
}

export const byName = (a: Named, b: Named): number => byText(formatName(a), formatName(b))

/** Older first; what has no time yet was never written, so it is the youngest. */
export const byAge = (a: Named, b: Named): number =>
  byText(a.metadata.creationTimestamp ?? '9', b.metadata.creationTimestamp ?? '9') || byName(a, b)

export const isDeleting = ({ metadata }: Named): boolean => metadata.deletionTimestamp !== undefined

/** All instances that the stream controls, by shard. */
export const instancesOf = (fleet: FleetSnapshot, stream: SendingStream): readonly MTAInstance[] =>
  fleet.instances.filter((instance) => isControlledBy(instance, stream)).toSorted((a, b) => a.spec.shard - b.spec.shard || byName(a, b))

export const isControlledBy = (object: Named, owner: Named): boolean =>
  object.metadata.namespace === owner.metadata.namespace &&
  (object.metadata.ownerReferences ?? []).some((reference) => reference.controller === true && reference.uid === owner.metadata.uid)

export const podOf = (fleet: FleetSnapshot, instance: MTAInstance): Pod | undefined => {
  const pod = findObject(fleet.pods, instance.metadata.namespace, instance.metadata.name)
  return pod !== undefined && isControlledBy(pod, instance) ? pod : undefined
}

export const findPodCondition = (conditions: readonly PodCondition[] | undefined, type: string): PodCondition | undefined =>
  conditions?.find((condition) => condition.type === type)

/** Its phase is final: such a Pod never runs again, whatever its restart policy. */
export const hasEnded = ({ status }: Pod): boolean => status?.phase === 'Failed' || status?.phase === 'Succeeded'
