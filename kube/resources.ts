/**
 * What the API server serves, as values: where a kind lives in the URL space, and the TypeScript type of its objects.
 * Objects are raw JSON, exactly as sent: nothing is decoded, defaulted or dropped, so what is read can be written back.
 */

/** The part of metav1.ObjectMeta this runtime reads. */
export type ObjectMeta = {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  readonly generation?: number
  readonly resourceVersion?: string
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
  readonly ownerReferences?: readonly {
    readonly apiVersion: string
    readonly kind: string
    readonly name: string
    readonly uid: string
    readonly controller?: boolean
    readonly blockOwnerDeletion?: boolean
  }[]
}

export type KubeObject = { readonly apiVersion?: string; readonly kind?: string; readonly metadata: ObjectMeta }

/** Names one object of a kind; cluster-scoped objects have no namespace. */
export type ObjectKey = { readonly namespace?: string; readonly name: string }

declare const objectType: unique symbol

/** A kind as the API server serves it. The type parameter is the type of its objects; it exists for the compiler only. */
export type Resource<T extends KubeObject = KubeObject> = {
  /** Empty for the core group. */
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  /** Metadata: the server sends metadata only (PartialObjectMetadata); the rest never reaches this process. */
  readonly view?: 'Metadata'
  readonly [objectType]?: T
}

/** An object of a kind whose fields the caller looks at itself. */
export type AnyObject = KubeObject & { readonly [field: string]: unknown }

export function resource<T extends KubeObject = AnyObject>(description: Omit<Resource<T>, typeof objectType>): Resource<T> {
  return description
}

/** The same kind, but only the metadata of its objects. For Secrets above all: a watch then carries no values. */
export function metadataOnly(of: Resource): Resource<KubeObject> {
  return { group: of.group, version: of.version, kind: of.kind, plural: of.plural, namespaced: of.namespaced, view: 'Metadata' }
}

export function apiVersionOf(of: Resource): string {
  return of.group === '' ? of.version : `${of.group}/${of.version}`
}

export function keyOf(object: KubeObject): ObjectKey {
  const { namespace, name } = object.metadata
  return namespace === undefined ? { name } : { namespace, name }
}

/** `namespace/name`, or `name` for what has no namespace: one spelling, for maps and logs. */
export function formatKey(key: ObjectKey): string {
  return key.namespace === undefined ? key.name : `${key.namespace}/${key.name}`
}

/** The inverse of formatKey. */
export function parseKey(text: string): ObjectKey {
  const slash = text.indexOf('/')
  return slash === -1 ? { name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) }
}

/**
 * Whether a resource version is older than another of the same kind. They are decimal numbers that grow with every write (KEP-5504); longer than a
 * double holds, so compared as text.
 */
export function isOlderVersion(one: string | undefined, other: string | undefined): boolean {
  if (one === undefined || other === undefined) return false
  return one.length === other.length ? one < other : one.length < other.length
}

const namespacedCore = (kind: string, plural: string) => resource({ group: '', version: 'v1', kind, plural, namespaced: true })
const clusterCore = (kind: string, plural: string) => resource({ group: '', version: 'v1', kind, plural, namespaced: false })

export const PODS = namespacedCore('Pod', 'pods')
export const SERVICES = namespacedCore('Service', 'services')
export const SECRETS = namespacedCore('Secret', 'secrets')
export const CONFIG_MAPS = namespacedCore('ConfigMap', 'configmaps')
export const SERVICE_ACCOUNTS = namespacedCore('ServiceAccount', 'serviceaccounts')
export const VOLUME_CLAIMS = namespacedCore('PersistentVolumeClaim', 'persistentvolumeclaims')
export const NODES = clusterCore('Node', 'nodes')
export const NAMESPACES = clusterCore('Namespace', 'namespaces')
export const VOLUMES = clusterCore('PersistentVolume', 'persistentvolumes')
export const ROLES = resource({ group: 'rbac.authorization.k8s.io', version: 'v1', kind: 'Role', plural: 'roles', namespaced: true })
export const ROLE_BINDINGS = resource({
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  kind: 'RoleBinding',
  plural: 'rolebindings',
  namespaced: true,
})
export const DISRUPTION_BUDGETS = resource({
  group: 'policy',
  version: 'v1',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  namespaced: true,
})
export const STORAGE_CLASSES = resource({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'StorageClass',
  plural: 'storageclasses',
  namespaced: false,
})
export const CUSTOM_RESOURCE_DEFINITIONS = resource({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
})
/** discovery.k8s.io/v1 EndpointSlice. */
export type EndpointSlice = KubeObject & {
  /** Cannot be changed. */
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN'
  readonly endpoints:
    | readonly {
        readonly addresses: readonly string[]
        readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean }
        readonly nodeName?: string
      }[]
    | null
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[] | null
}
export const ENDPOINT_SLICES = resource<EndpointSlice>({
  group: 'discovery.k8s.io',
  version: 'v1',
  kind: 'EndpointSlice',
  plural: 'endpointslices',
  namespaced: true,
})
export const EVENTS = resource({ group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events', namespaced: true })

/** coordination.k8s.io/v1 Lease. Times are MicroTime: RFC 3339 with six digits of a second. */
export type Lease = KubeObject & {
  readonly spec?: {
    readonly holderIdentity?: string
    readonly leaseDurationSeconds?: number
    readonly acquireTime?: string
    readonly renewTime?: string
    readonly leaseTransitions?: number
  }
}
export const LEASES = resource<Lease>({ group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true })
