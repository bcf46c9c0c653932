import { ANNOTATIONS, GROUP, LABELS } from '#crds/group.ts'
import { findCondition } from '#crds/conditions.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { ObjectMeta } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { authorityName, certificateName } from '#operator/planning/objects/metadata.ts'
import { findPodCondition, type Lease, type Node, type Pod, type StorageClass, type Volume } from '#operator/planning/snapshot.ts'
import type { ObjectKey } from './controller.ts'

/**
 * The table: change of which object wakes which key. A row too many costs a reconcile that changes nothing; a row too few leaves an object behind until
 * something else wakes it. Pure.
 */

export type ControllerKind = 'SendingStream' | 'IPPool' | 'MTAInstance'
export type Wake = { readonly kind: ControllerKind; readonly key: ObjectKey }

/** Our objects as they are now, to find who looks at the one that changed. */
export type Ours = {
  readonly streams: readonly SendingStream[]
  readonly pools: readonly IPPool[]
  readonly instances: readonly MTAInstance[]
}

type Owned = { readonly metadata: ObjectMeta }
export type Watched = {
  readonly SendingStream: SendingStream
  readonly IPPool: IPPool
  readonly MTAInstance: MTAInstance
  readonly Pod: Pod
  readonly PersistentVolumeClaim: Owned
  readonly Service: Owned
  readonly ServiceAccount: Owned
  readonly Role: Owned
  readonly RoleBinding: Owned
  readonly PodDisruptionBudget: Owned
  readonly Lease: Lease
  readonly EndpointSlice: Owned
  readonly Node: Node
  readonly PersistentVolume: Volume
  readonly StorageClass: StorageClass
}
export type WatchedKind = keyof Watched

type Row<T> = {
  /** What others may look at. While it stays the same, only the object itself (and what `always` names) is woken. */
  readonly meaning: (object: T) => unknown
  readonly always: (object: T, ours: Ours) => readonly Wake[]
  readonly onMeaning: (object: T, ours: Ours) => readonly Wake[]
}

const NOBODY = () => []
const meaningOf = ({ metadata }: Owned) => [
  metadata.uid,
  metadata.generation,
  metadata.deletionTimestamp,
  metadata.finalizers,
  metadata.annotations,
]

/** What we made: it wakes the instance or stream that it is for, by owner and by label (a retained volume claim has no owner). */
const CHILD: Row<Owned> = {
  meaning: () => 'any change',
  onMeaning: NOBODY,
  always: ({ metadata }) => {
    const { namespace = '', labels = {}, ownerReferences = [] } = metadata
    const [stream, instance] = [labels[LABELS.stream], labels[LABELS.instance]]
    const byOwner = ownerReferences.filter(({ apiVersion }) => apiVersion.startsWith(`${GROUP}/`))
    return [
      ...byOwner.flatMap(({ kind, name }) => (isController(kind) ? [{ kind, key: { namespace, name } }] : [])),
      ...(stream === undefined ? [] : [{ kind: 'SendingStream' as const, key: { namespace, name: stream } }]),
      ...(instance === undefined ? [] : [{ kind: 'MTAInstance' as const, key: { namespace, name: instance } }]),
    ]
  },
}

export const WATCHES: { readonly [K in WatchedKind]: Row<Watched[K]> } = {
  SendingStream: {
    meaning: meaningOf,
    always: (stream) => [wake('SendingStream', stream)],
    onMeaning: (stream, ours) => [
      { kind: 'IPPool', key: inNamespaceOf(stream, stream.spec.poolRef.name) },
      ...ours.instances.filter((instance) => isOf(instance, stream)).map((instance) => wake('MTAInstance', instance)),
      // A pool serves one stream: when that one goes or changes pools, another's turn may have come.
      ...streamsOfPool(ours, inNamespaceOf(stream, stream.spec.poolRef.name)),
    ],
  },
  IPPool: {
    meaning: meaningOf,
    always: (pool, ours) => [wake('IPPool', pool), ...streamsOfPool(ours, keyOf(pool))],
    // An address that is in two pools is a conflict in both.
    onMeaning: (pool, ours) => ours.pools.filter((other) => sharesAddress(other, pool)).map((other) => wake('IPPool', other)),
  },
  MTAInstance: {
    // An address is free again only when the agent no longer names it; the pool shows who has it on the node.
    meaning: (instance) => [meaningOf(instance), instance.status?.agent?.addresses, instance.status?.agent?.attachedAddresses],
    always: (instance) => [
      wake('MTAInstance', instance),
      { kind: 'SendingStream', key: inNamespaceOf(instance, instance.spec.streamRef.name) },
    ],
    onMeaning: (instance, ours) => {
      const bound = instance.spec.addresses.map(({ address }) => address)
      const addresses = new Set([...bound, ...(instance.status?.agent?.addresses ?? [])])
      const pools = ours.pools.filter((pool) => pool.spec.addresses.some(({ address }) => addresses.has(address)))
      const waiting = ours.streams.filter((stream) => findCondition(stream.status?.conditions, 'Ready')?.status !== 'True')
      return [
        // An address may have moved to another pool: its stream takes it up when it is let go here.
        ...pools.flatMap((pool) => [wake('IPPool', pool), ...streamsOfPool(ours, keyOf(pool))]),
        // Who waits may wait for the addresses or the ports that this one had.
        ...waiting.map((stream) => wake('SendingStream', stream)),
        // A Pod waits for those of the others before it is replaced.
        ...siblings(ours, instance.metadata.namespace, instance.spec.streamRef.name),
      ]
    },
  },
  Pod: {
    // What the others of the stream wait for before their own Pods are replaced: that this one is the new one, and ready.
    meaning: ({ metadata, status }) => [
      metadata.uid,
      metadata.deletionTimestamp,
      metadata.annotations?.[ANNOTATIONS.podHash],
      findPodCondition(status?.conditions, 'Ready')?.status,
    ],
    always: CHILD.always,
    onMeaning: ({ metadata: { namespace, labels } }, ours) => siblings(ours, namespace, labels?.[LABELS.stream]),
  },
  PersistentVolumeClaim: CHILD,
  Service: CHILD,
  ServiceAccount: CHILD,
  Role: CHILD,
  RoleBinding: CHILD,
  PodDisruptionBudget: CHILD,
  Lease: {
    // Who is primary and who is in sync: each instance of the stream shows it, and waits for it before its Pod is replaced.
    meaning: ({ metadata, spec }) => [
      metadata.uid,
      metadata.deletionTimestamp,
      metadata.annotations,
      spec?.holderIdentity,
      spec?.leaseTransitions,
    ],
    always: CHILD.always,
    onMeaning: ({ metadata: { namespace, labels } }, ours) => siblings(ours, namespace, labels?.[LABELS.stream]),
  },
  EndpointSlice: CHILD,
  Node: {
    // A node's heartbeats are no news.
    meaning: ({ metadata, spec, status }) => [
      metadata.uid,
      metadata.labels,
      metadata.deletionTimestamp,
      spec?.unschedulable,
      spec?.taints,
      status?.conditions?.map(({ type, status: is, reason }) => [type, is, reason]),
      status?.addresses,
    ],
    always: NOBODY,
    onMeaning: ({ metadata: { name } }, ours) => {
      // Managed addresses can go to any node.
      const pools = ours.pools.filter(
        ({ spec }) => spec.attachment === 'Managed' || spec.addresses.some(({ nodeName }) => nodeName === name),
      )
      return [
        ...pools.flatMap((pool) => [wake('IPPool', pool), ...streamsOfPool(ours, keyOf(pool))]),
        ...ours.instances.filter(({ spec }) => spec.nodeName === name).map((instance) => wake('MTAInstance', instance)),
      ]
    },
  },
  PersistentVolume: {
    meaning: ({ metadata, spec, status }) => [metadata.uid, metadata.deletionTimestamp, spec?.storageClassName, status?.phase],
    always: NOBODY,
    onMeaning: ({ spec }, ours) => waitingForVolume(ours, spec?.storageClassName),
  },
  StorageClass: {
    meaning: ({ metadata, provisioner, allowVolumeExpansion }) => [metadata.uid, provisioner, allowVolumeExpansion],
    always: NOBODY,
    onMeaning: ({ metadata }, ours) => waitingForVolume(ours, metadata.name),
  },
}

/** Whom the change wakes, each once. `before` and `after` are both looked at: what an object no longer says matters as much as what it says now. */
export function planWakes<K extends WatchedKind>(
  kind: K,
  change: { readonly before: Watched[K] | undefined; readonly after: Watched[K] | undefined },
  ours: Ours,
): readonly Wake[] {
  const row: Row<Watched[K]> = WATCHES[kind]
  const sides = [change.before, change.after].flatMap((object) => (object === undefined ? [] : [object]))
  const meanings = new Set(sides.map((object) => JSON.stringify(row.meaning(object))))
  const isNews = sides.length === 1 || meanings.size > 1
  const wakes = sides.flatMap((object) => [...row.always(object, ours), ...(isNews ? row.onMeaning(object, ours) : [])])
  return [...new Map(wakes.map((one) => [`${one.kind} ${one.key.namespace}/${one.key.name}`, one])).values()]
}

/** Everyone who mounts the Secret. */
export function planSecretWakes(secret: ObjectKey, ours: Ours): readonly Wake[] {
  const names = ({ metadata, spec }: SendingStream | MTAInstance) =>
    metadata.namespace === secret.namespace &&
    [spec.submission.tlsSecretRef, spec.submission.authSecretRef].some((ref) => ref?.name === secret.name)
  const shows = ({ metadata, spec }: MTAInstance) =>
    metadata.namespace === secret.namespace &&
    spec.replication !== undefined &&
    [certificateName(metadata.name), authorityName(spec.streamRef.name)].includes(secret.name)
  return [
    ...ours.streams.filter(names).map((stream) => wake('SendingStream', stream)),
    ...ours.instances.filter((instance) => names(instance) || shows(instance)).map((instance) => wake('MTAInstance', instance)),
  ]
}

const keyOf = ({ metadata }: Owned): ObjectKey => ({ namespace: metadata.namespace ?? '', name: metadata.name })
const inNamespaceOf = ({ metadata }: Owned, name: string): ObjectKey => ({ namespace: metadata.namespace ?? '', name })
const wake = (kind: ControllerKind, object: Owned): Wake => ({ kind, key: keyOf(object) })
const isController = (kind: string): kind is ControllerKind => kind === 'SendingStream' || kind === 'IPPool' || kind === 'MTAInstance'

const isOf = (instance: MTAInstance, stream: SendingStream): boolean =>
  instance.metadata.namespace === stream.metadata.namespace && instance.spec.streamRef.name === stream.metadata.name

const siblings = ({ instances }: Ours, namespace: string | undefined, stream: string | undefined): Wake[] =>
  instances
    .filter(({ metadata, spec }) => metadata.namespace === namespace && spec.streamRef.name === stream)
    .map((instance) => wake('MTAInstance', instance))

const streamsOfPool = ({ streams }: Ours, pool: ObjectKey): Wake[] =>
  streams
    .filter(({ metadata, spec }) => metadata.namespace === pool.namespace && spec.poolRef.name === pool.name)
    .map((stream) => wake('SendingStream', stream))

function sharesAddress(one: IPPool, other: IPPool): boolean {
  const addresses = new Set(other.spec.addresses.map(({ address }) => address))
  return one.spec.addresses.some(({ address }) => addresses.has(address))
}

const waitingForVolume = ({ instances }: Ours, storageClass: string | undefined): Wake[] =>
  instances
    .filter(
      ({ spec, status }) =>
        spec.queue.storageClassName === storageClass && findCondition(status?.conditions, 'VolumeBound')?.status !== 'True',
    )
    .map((instance) => wake('MTAInstance', instance))
