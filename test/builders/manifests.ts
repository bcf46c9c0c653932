import { API_VERSION } from '#crds/group.ts'
import type { MailClass } from '#crds/sending-stream.ts'

/** Manifests as an administrator would write them: valid by default, only the interesting difference is given. */

export type Manifest = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> }
  readonly [field: string]: unknown
}

type PoolEntry = {
  readonly address: string
  readonly hostName: string
  readonly nodeName?: string
  readonly interface?: string
  readonly prefixLength?: number
}

/** Source address K (1 to 4) of local node N: the addresses that test/cluster puts on each node, with the names that test/internet's DNS gives them. */
export const nodeAddress = (node: number, k: number) => ({
  address: `192.0.2.${node}${k}`,
  hostName: `mta-${node}${k}.senders.example`,
  nodeName: `node${node}`,
})

/** Source addresses K (1 to 4) that no local node has of itself: DNS names as many nodes as the cluster could have, and that is the last of them. */
export const movingAddresses = (k: number) =>
  [`192.0.2.9${k}`, `2001:db8:0:9::${k}`].map((address) => ({ address, hostName: `mta-9${k}.senders.example` }))

export const namespace = (name: string, labels: Readonly<Record<string, string>> = {}): Manifest => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
})

export const pool = (
  name: string,
  options: {
    readonly addresses: readonly PoolEntry[]
    readonly allowedClasses?: readonly MailClass[]
    readonly attachment?: 'Existing' | 'Managed'
    readonly nodeSelector?: Readonly<Record<string, string>>
  },
): Manifest => ({
  apiVersion: API_VERSION,
  kind: 'IPPool',
  metadata: { name },
  spec: {
    addresses: options.addresses,
    allowedClasses: options.allowedClasses ?? ['Transactional'],
    ...(options.attachment ? { attachment: options.attachment } : {}),
    ...(options.nodeSelector ? { nodeSelector: options.nodeSelector } : {}),
  },
})

export type StreamOptions = {
  readonly class?: MailClass
  readonly pool?: string
  readonly primaries?: number
  readonly standbysPerPrimary?: number
  readonly failover?: Readonly<Record<string, unknown>>
  readonly submission?: Readonly<Record<string, unknown>>
  readonly queue?: Readonly<Record<string, unknown>>
  readonly delivery?: Readonly<Record<string, unknown>>
  readonly routes?: readonly unknown[]
  readonly agent?: Readonly<Record<string, unknown>>
  readonly stopPolicy?: 'None' | 'Hold' | 'HoldAndDrain'
}

export const stream = (name: string, options: StreamOptions = {}): Manifest => ({
  apiVersion: API_VERSION,
  kind: 'SendingStream',
  metadata: { name },
  spec: {
    class: options.class ?? 'Transactional',
    primaries: options.primaries ?? 1,
    ...(options.standbysPerPrimary === undefined ? {} : { standbysPerPrimary: options.standbysPerPrimary }),
    ...(options.failover ? { failover: options.failover } : {}),
    poolRef: { name: options.pool ?? name },
    submission: {
      tlsSecretRef: { name: 'submission-tls' },
      authSecretRef: { name: 'submission-users' },
      ...options.submission,
    },
    queue: { storageClassName: 'local-ssd', size: '256Mi', retrySeconds: [5, 10, 20], ...options.queue },
    ...(options.delivery ? { delivery: options.delivery } : {}),
    ...(options.routes ? { routes: options.routes } : {}),
    ...(options.agent ? { agent: options.agent } : {}),
    ...(options.stopPolicy ? { stopPolicy: options.stopPolicy } : {}),
  },
})

export const secret = (name: string, stringData: Readonly<Record<string, string>>, type = 'Opaque'): Manifest => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name },
  type,
  stringData,
})

/** A StorageClass whose volumes are made one by one, by hand. */
export const localStorageClass = (name: string): Manifest => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name },
  provisioner: 'kubernetes.io/no-provisioner',
  volumeBindingMode: 'WaitForFirstConsumer',
})

export const localVolume = (
  name: string,
  options: {
    readonly storageClassName: string
    readonly nodeName: string
    /** A folder of that node. */
    readonly path: string
    readonly capacity?: string
    readonly labels?: Readonly<Record<string, string>>
  },
): Manifest => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name, ...(options.labels && { labels: options.labels }) },
  spec: {
    capacity: { storage: options.capacity ?? '512Mi' },
    accessModes: ['ReadWriteOnce'],
    storageClassName: options.storageClassName,
    persistentVolumeReclaimPolicy: 'Retain',
    local: { path: options.path },
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [options.nodeName] }] }],
      },
    },
  },
})
