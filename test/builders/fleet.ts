import { parseIPPool, parseSendingStream } from '#crds/parse.ts'
import type { Condition } from '#crds/meta.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance, MTAInstanceStatus } from '#crds/mta-instance.ts'
import type { MailClass, SendingStream } from '#crds/sending-stream.ts'
import type { Change, Manifest } from '#operator/planning/change.ts'
import type { FleetSnapshot, KubeObject, Node, Pod, StorageClass, Volume, VolumeClaim } from '#operator/planning/snapshot.ts'
import * as manifests from './manifests.ts'

/** A fleet as the caches of the operator show it, and what its writes make of it. Valid by default; only the interesting difference is given. */

export const NAMESPACE = 'mail'
export const NOW = Date.parse('2026-05-04T10:00:00Z')
const LONG_AGO = '2026-01-01T00:00:00Z'

export const settings: FleetSnapshot['settings'] = {
  agentImage: 'mtafleet:1',
  agentImagePullSecrets: [],
  ports: { first: 20000, last: 20999 },
}

export const emptyFleet: FleetSnapshot = {
  streams: [],
  pools: [],
  instances: [],
  pods: [],
  claims: [],
  volumes: [],
  storageClasses: [],
  nodes: [],
  secrets: [],
  services: [],
  serviceAccounts: [],
  roles: [],
  roleBindings: [],
  disruptionBudgets: [],
  leases: [],
  endpointSlices: [],
  settings,
}

export const fleet = (parts: Partial<FleetSnapshot>): FleetSnapshot => ({ ...emptyFleet, ...parts })

export type Meta = { readonly namespace?: string; readonly createdAt?: string; readonly deletedAt?: string; readonly generation?: number }

const metadataOf = (name: string, { namespace = NAMESPACE, createdAt = LONG_AGO, deletedAt, generation = 1 }: Meta) => ({
  name,
  namespace,
  uid: `uid-${namespace}-${name}`,
  resourceVersion: '1',
  generation,
  creationTimestamp: createdAt,
  finalizers: ['mtafleet.io/drain'],
  ...(deletedAt === undefined ? {} : { deletionTimestamp: deletedAt }),
})

export const stream = (name: string, options: manifests.StreamOptions & Meta = {}): SendingStream => {
  const parsed = parseSendingStream(manifests.stream(name, options))
  return { ...parsed, metadata: metadataOf(name, options) }
}

/** Node name → addresses on it. */
export const pool = (
  name: string,
  nodes: Readonly<Record<string, readonly string[]>>,
  options: Meta & { readonly allowedClasses?: readonly MailClass[] } = {},
): IPPool => {
  const addresses = Object.entries(nodes).flatMap(([nodeName, list]) =>
    list.map((address) => ({ address, hostName: `mta-${address.replaceAll(/[.:]/g, '-')}.senders.example`, nodeName })),
  )
  const parsed = parseIPPool(manifests.pool(name, { addresses, ...options }))
  const { finalizers: _none, ...metadata } = metadataOf(name, options)
  return { ...parsed, metadata }
}

/** Its addresses go to where the primary of their shard is. */
export const managedPool = (
  name: string,
  addresses: readonly string[],
  options: Meta & { readonly nodeSelector?: Readonly<Record<string, string>> } = {},
): IPPool => {
  const entries = addresses.map((address) => ({ address, hostName: `mta-${address.replaceAll(/[.:]/g, '-')}.senders.example` }))
  const parsed = parseIPPool(manifests.pool(name, { addresses: entries, attachment: 'Managed', ...options }))
  const { finalizers: _none, ...metadata } = metadataOf(name, options)
  return { ...parsed, metadata }
}

export const node = (
  name: string,
  options: {
    readonly labels?: Readonly<Record<string, string>>
    readonly cordoned?: boolean
    readonly ready?: 'True' | 'False' | 'Unknown'
    readonly taints?: NonNullable<Node['spec']>['taints']
    readonly address?: string
    /** When it became ready, or ceased to be. */
    readonly since?: string
  } = {},
): Node => ({
  metadata: { name, uid: `uid-${name}`, labels: { 'kubernetes.io/hostname': name, ...options.labels } },
  spec: {
    ...(options.cordoned === true ? { unschedulable: true } : {}),
    ...(options.taints === undefined ? {} : { taints: options.taints }),
  },
  status: {
    conditions: [
      {
        type: 'Ready',
        status: options.ready ?? 'True',
        reason: 'Kubelet',
        message: 'Kubelet stopped posting node status.',
        lastTransitionTime: options.since ?? LONG_AGO,
      },
    ],
    addresses: [{ type: 'InternalIP', address: options.address ?? '203.0.113.1' }],
  },
})

export const storageClass: StorageClass = {
  metadata: { name: 'local-ssd', uid: 'uid-local-ssd' },
  provisioner: 'kubernetes.io/no-provisioner',
}

export const volume = (name: string, nodeName: string, phase = 'Available'): Volume => ({
  metadata: { name, uid: `uid-${name}` },
  spec: {
    storageClassName: 'local-ssd',
    capacity: { storage: '1Gi' },
    nodeAffinity: {
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [nodeName] }] }] },
    },
  },
  status: { phase },
})

export const secrets: FleetSnapshot['secrets'] = [
  { namespace: NAMESPACE, name: 'submission-tls', type: 'kubernetes.io/tls', keys: ['tls.crt', 'tls.key'] },
  { namespace: NAMESPACE, name: 'submission-users', type: 'Opaque', keys: ['ada'] },
]

/** The claim of an instance, as the operator makes it. */
export const claim = (instance: string, streamName: string, bound: string | undefined, options: Meta = {}): VolumeClaim => ({
  metadata: {
    name: `${instance}-queue`,
    namespace: options.namespace ?? NAMESPACE,
    uid: `uid-${instance}-queue`,
    labels: { 'app.kubernetes.io/managed-by': 'mtafleet.io', 'mtafleet.io/stream': streamName, 'mtafleet.io/instance': instance },
    ...(options.deletedAt === undefined ? {} : { deletionTimestamp: options.deletedAt }),
  },
  spec: {
    storageClassName: 'local-ssd',
    resources: { requests: { storage: '256Mi' } },
    ...(bound === undefined ? {} : { volumeName: bound }),
  },
  status: { phase: bound === undefined ? 'Pending' : 'Bound' },
})

/** Two good nodes, their volumes, the Secrets and the StorageClass: what surrounds every fleet. */
export const surroundings = (...nodeNames: readonly string[]): Partial<FleetSnapshot> => ({
  nodes: nodeNames.map((name) => node(name)),
  volumes: nodeNames.flatMap((name) => [0, 1, 2, 3].map((slot) => volume(`${name}-${slot}`, name))),
  storageClasses: [storageClass],
  secrets,
})

export const condition = (type: string, status: 'True' | 'False' | 'Unknown', observedGeneration = 1, reason = 'Said'): Condition => ({
  type,
  status,
  reason,
  message: `${type} is ${status}`,
  observedGeneration,
  lastTransitionTime: LONG_AGO,
})

/** The collections that a kind of manifest is kept in. */
const COLLECTIONS = {
  MTAInstance: 'instances',
  Pod: 'pods',
  PersistentVolumeClaim: 'claims',
  Service: 'services',
  ServiceAccount: 'serviceAccounts',
  Role: 'roles',
  RoleBinding: 'roleBindings',
  PodDisruptionBudget: 'disruptionBudgets',
  Lease: 'leases',
  EndpointSlice: 'endpointSlices',
  SendingStream: 'streams',
} as const
type Collection = (typeof COLLECTIONS)[keyof typeof COLLECTIONS]
type Stored = { readonly metadata: Manifest['metadata']; readonly spec?: unknown }

const collectionOf = (kind: string): Collection => {
  const name = COLLECTIONS[kind as keyof typeof COLLECTIONS] as Collection | undefined
  if (name === undefined) throw new RangeError(`kind must be one that plans change, was '${kind}'`)
  return name
}

/** What the API server would make of a change: uid, generation, finalizers, deletion. */
export function applyChange(before: FleetSnapshot, change: Change): FleetSnapshot {
  switch (change.kind) {
    case 'apply':
    case 'create':
      return put(before, change.object)
    case 'delete':
      return remove(before, change.ref)
    case 'setFinalizers':
      return setFinalizers(before, change)
    case 'issueCertificate':
      return issueCertificate(before, change)
  }
}

export const applyChanges = (before: FleetSnapshot, changes: readonly Change[]): FleetSnapshot => changes.reduce(applyChange, before)

function put(before: FleetSnapshot, object: Manifest): FleetSnapshot {
  const collection = collectionOf(object.kind)
  const all = before[collection] as readonly Stored[]
  const { name, namespace } = object.metadata
  const old = all.find((one) => one.metadata.name === name && one.metadata.namespace === namespace)
  const metadata = {
    uid: `uid-${namespace}-${name}`,
    creationTimestamp: '2026-05-04T10:00:00Z',
    resourceVersion: '1',
    ...old?.metadata,
    ...object.metadata,
    generation: (old?.metadata.generation ?? 0) + 1,
  }
  const fresh = { ...old, ...object, metadata }
  return { ...before, [collection]: [...all.filter((one) => one !== old), fresh] }
}

type Ref = { readonly kind: string; readonly namespace: string; readonly name: string }

const isNamed = (object: Stored, { name, namespace }: Ref): boolean =>
  object.metadata.name === name && object.metadata.namespace === namespace

function remove(before: FleetSnapshot, ref: Ref): FleetSnapshot {
  const collection = collectionOf(ref.kind)
  const all = before[collection] as readonly Stored[]
  return {
    ...before,
    [collection]: all.flatMap((one) => {
      if (!isNamed(one, ref)) return [one]
      if ((one.metadata.finalizers ?? []).length === 0) return []
      return [
        {
          ...one,
          metadata: { ...one.metadata, deletionTimestamp: '2026-05-04T10:00:00Z', generation: (one.metadata.generation ?? 0) + 1 },
        },
      ]
    }),
  }
}

function setFinalizers(before: FleetSnapshot, change: Extract<Change, { kind: 'setFinalizers' }>): FleetSnapshot {
  const collection = collectionOf(change.ref.kind)
  const all = before[collection] as readonly Stored[]
  return {
    ...before,
    [collection]: all.flatMap((one) => {
      if (!isNamed(one, change.ref)) return [one]
      if (change.finalizers.length === 0 && one.metadata.deletionTimestamp !== undefined) return []
      return [{ ...one, metadata: { ...one.metadata, finalizers: change.finalizers } }]
    }),
  }
}

function issueCertificate(before: FleetSnapshot, change: Extract<Change, { kind: 'issueCertificate' }>): FleetSnapshot {
  const facts = ({ metadata: { name, namespace } }: Manifest, keys: readonly string[], dnsNames: readonly string[]) => ({
    namespace,
    name,
    type: 'made',
    keys,
    isOurs: true,
    certificate: { notAfter: NOW + 90 * 86_400_000 * (dnsNames.length === 0 ? 40 : 1), dnsNames, authority: 'first' },
  })
  const made = [facts(change.secret, ['ca.crt', 'tls.crt', 'tls.key'], [change.dnsName]), facts(change.authority, ['ca.crt', 'ca.key'], [])]
  return {
    ...before,
    secrets: [
      ...before.secrets.filter((one) => !made.some(({ namespace, name }) => namespace === one.namespace && name === one.name)),
      ...made,
    ],
  }
}

/** The same instance with another status. */
export const withStatus = (before: FleetSnapshot, name: string, status: (instance: MTAInstance) => MTAInstanceStatus): FleetSnapshot => ({
  ...before,
  instances: before.instances.map((instance) => (instance.metadata.name === name ? { ...instance, status: status(instance) } : instance)),
})

/** Every agent works by the newest spec and says so: its addresses are those of the spec, its queue holds `messages`. */
export const agentsFollow = (before: FleetSnapshot, messages: (instance: MTAInstance) => number = () => 0): FleetSnapshot => ({
  ...before,
  instances: before.instances.map((instance) => {
    const generation = instance.metadata.generation ?? 1
    const count = messages(instance)
    const says = (type: string, holds: boolean) => condition(type, holds ? 'True' : 'False', generation)
    const { mode } = instance.spec
    return {
      ...instance,
      status: {
        ...instance.status,
        conditions: [
          ...(instance.status?.conditions ?? []).filter(({ reason }) => reason !== 'Said'),
          says('Accepting', mode === 'Run'),
          says('Delivering', mode !== 'Hold'),
          says('AddressesPresent', true),
          says('StorageAvailable', true),
          says('CredentialsLoaded', true),
          says('Drained', mode === 'Drain' && count === 0),
        ],
        agent: {
          observedGeneration: generation,
          addresses: instance.spec.addresses.map(({ address }) => address),
          ...attachedBy(instance, instance.spec.replication === undefined),
          queue: { messages: count, recipients: count, deferred: 0 },
        },
      },
    }
  }),
})

/** What an agent with managed addresses says of them: it has all or none on its node. */
export const attachedBy = ({ spec }: MTAInstance, acts: boolean) =>
  spec.addressAttachment === 'Managed' ? { attachedAddresses: acts ? spec.addresses.map(({ address }) => address) : [] } : {}

/** Every Pod runs where it shall and every claim has a volume there. */
export const podsRun = (before: FleetSnapshot): FleetSnapshot => {
  const nodeOf = (name: string) => before.instances.find((instance) => instance.metadata.name === name)?.spec.nodeName ?? 'nowhere'
  const pods = before.pods.map((pod): Pod =>
    pod.spec?.nodeName === undefined || pod.status === undefined ? running(pod, nodeOf(pod.metadata.name)) : pod,
  )
  const bind = (one: VolumeClaim): VolumeClaim => {
    const nodeName = nodeOf(one.metadata.name.replace(/-queue$/, ''))
    return { ...one, spec: { ...one.spec, volumeName: `${nodeName}-0` }, status: { phase: 'Bound' } }
  }
  return { ...before, pods, claims: before.claims.map((one) => (one.spec?.volumeName === undefined ? bind(one) : one)) }
}

export const running = (pod: Pod, nodeName: string): Pod => ({
  ...pod,
  spec: { ...pod.spec, nodeName },
  status: {
    phase: 'Running',
    conditions: [
      { type: 'PodScheduled', status: 'True' },
      { type: 'Ready', status: 'True' },
    ],
    containerStatuses: [{ name: 'agent', ready: true, restartCount: 0, state: { running: { startedAt: LONG_AGO } } }],
  },
})

export const named = <T extends { readonly metadata: KubeObject['metadata'] }>(objects: readonly T[], name: string): T => {
  const found = objects.find((object) => object.metadata.name === name)
  if (found === undefined)
    throw new RangeError(`there must be an object '${name}', there were: ${objects.map((one) => one.metadata.name).join(', ')}`)
  return found
}
