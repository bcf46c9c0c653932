import { API_VERSION, GROUP, LABELS, RESOURCES, SLICE_MANAGER, VERSION } from '#crds/group.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { Cache, type Change } from '#kube/cache.ts'
import type { Client } from '#kube/client.ts'
import { backOffMillis, type Clock } from '#kube/clock.ts'
import { isKubeError } from '#kube/errors.ts'
import { type ReflectorReport, runReflector } from '#kube/reflector.ts'
import * as kube from '#kube/resources.ts'
import type {
  FleetSnapshot,
  KubeObject,
  Lease,
  Node,
  Pod,
  SecretFacts,
  Settings,
  StorageClass,
  Volume,
  VolumeClaim,
} from '#operator/planning/snapshot.ts'
import type { Ours, Watched, WatchedKind } from './controllers/watches.ts'

/**
 * The fleet as this process sees it: a cache for each kind, filled by watches. Snapshots are made from the caches alone, never from a list, and hold our
 * own writes from the moment they were answered. Of objects that are not ours only the metadata is kept.
 */

/** Every kind that is watched, as the API server serves it. */
export const WATCHED: { readonly [K in WatchedKind]: kube.Resource<Watched[K] & kube.KubeObject> } = {
  SendingStream: ours<SendingStream>('SendingStream'),
  IPPool: ours<IPPool>('IPPool'),
  MTAInstance: ours<MTAInstance>('MTAInstance'),
  Pod: kube.PODS,
  PersistentVolumeClaim: kube.VOLUME_CLAIMS,
  Service: kube.SERVICES,
  ServiceAccount: kube.SERVICE_ACCOUNTS,
  Role: kube.ROLES,
  RoleBinding: kube.ROLE_BINDINGS,
  PodDisruptionBudget: kube.DISRUPTION_BUDGETS,
  Lease: kube.LEASES,
  EndpointSlice: kube.ENDPOINT_SLICES,
  Node: kube.NODES as kube.Resource<Node & kube.KubeObject>,
  PersistentVolume: kube.VOLUMES as kube.Resource<Volume & kube.KubeObject>,
  StorageClass: kube.STORAGE_CLASSES as kube.Resource<StorageClass & kube.KubeObject>,
}

/** Of these there are many that are no business of ours: every node has a Lease that changes every few seconds. */
const SELECTED: Partial<Record<WatchedKind, string>> = {
  Lease: `${LABELS.managedBy}=${GROUP}`,
  EndpointSlice: `${SLICE_MANAGER}=${GROUP}`,
}
const KINDS = Object.keys(WATCHED) as WatchedKind[]
/** What plans give out (addresses and ports, by the instances) or do once only (one Pod at a time, one volume, one record). */
const ALLOTTED = ['MTAInstance', 'Pod', 'PersistentVolumeClaim', 'Lease'] as const satisfies readonly WatchedKind[]
const CATCH_UP_BACK_OFF = { firstMillis: 200, maxMillis: 5000 }

function ours<T extends kube.KubeObject>(kind: keyof typeof RESOURCES): kube.Resource<T> {
  return kube.resource<T>({ group: GROUP, version: VERSION, kind, plural: RESOURCES[kind], namespaced: true })
}

export type FleetOptions = {
  readonly client: Client
  /** Empty: all. */
  readonly namespaces: readonly string[]
  readonly clock: Clock
  readonly settings: Settings
  readonly onReport: (kind: WatchedKind, report: ReflectorReport) => void
}

type AnyCache = Cache<kube.KubeObject>

export class Fleet {
  readonly #options: FleetOptions
  readonly #caches: Readonly<Record<WatchedKind, AnyCache>>
  /** Reflector → when it last took a step. */
  readonly #steps = new Map<string, number>()

  constructor(options: FleetOptions) {
    this.#options = options
    this.#caches = Object.fromEntries(KINDS.map((kind) => [kind, new Cache({})])) as unknown as Record<WatchedKind, AnyCache>
  }

  /** Watches until the signal aborts; rejects when a cache can no longer be trusted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(KINDS.flatMap((kind) => this.#reflectors(kind).map((run) => run(signal))))
  }

  async waitForSync(signal: AbortSignal): Promise<void> {
    await Promise.all(KINDS.map((kind) => this.#caches[kind].waitForSync(signal)))
  }

  /**
   * Reads what is given out as it is now and shows it to the caches. A new leader needs that before its first plan: the watches may be behind what the leader
   * before it wrote last, and an address or a port would be given out twice. Tries until it is done or the signal aborts.
   */
  async catchUp(signal: AbortSignal): Promise<void> {
    const places = this.#options.namespaces.length > 0 ? this.#options.namespaces : [undefined]
    const turns = ALLOTTED.flatMap((kind) => places.map((namespace) => this.#catchUpWith(kind, namespace, signal)))
    await Promise.all(turns)
  }

  async #catchUpWith(kind: (typeof ALLOTTED)[number], namespace: string | undefined, signal: AbortSignal): Promise<void> {
    const { clock, onReport } = this.#options
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#readAnew(kind, namespace, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!isKubeError(error)) throw error
        if (isKubeError(error, 'forbidden') && (await this.#isGone(namespace, signal))) return
        const retryMillis = backOffMillis(CATCH_UP_BACK_OFF, failures, clock.random())
        onReport(kind, { kind: 'failed', step: 'list', error, retryMillis })
        await clock.sleep(retryMillis, signal)
      }
    }
  }

  async #readAnew(kind: (typeof ALLOTTED)[number], namespace: string | undefined, signal: AbortSignal): Promise<void> {
    const of = WATCHED[kind] as kube.Resource
    // Foreign Pods, claims and leases may be many, and nothing of ours is given out by them.
    const selection = {
      ...(namespace === undefined ? {} : { namespace }),
      ...(kind === 'MTAInstance' ? {} : { labelSelector: `${LABELS.managedBy}=${GROUP}` }),
    }
    const { items, resourceVersion } = await this.#options.client.list(of, selection, { signal })
    const objects = items.map((item) => prepare({ ...item, apiVersion: kube.apiVersionOf(of), kind }))
    const isSelected = ({ metadata }: kube.KubeObject): boolean =>
      (namespace === undefined || metadata.namespace === namespace) &&
      (kind === 'MTAInstance' || metadata.labels?.[LABELS.managedBy] === GROUP)
    this.#caches[kind].catchUp(objects, resourceVersion, isSelected)
  }

  /** A namespace of the list that was deleted must not hold up the others. One of which nothing can be learned is not gone. */
  async #isGone(namespace: string | undefined, signal: AbortSignal): Promise<boolean> {
    if (namespace === undefined) return false
    try {
      return (await this.#options.client.find(kube.NAMESPACES, { name: namespace }, { signal })) === undefined
    } catch (error) {
      if (!isKubeError(error)) throw error
      return false
    }
  }

  /** What has not been listed yet: kinds, with their namespace where there is a list of them. */
  unsynced(): readonly string[] {
    return KINDS.flatMap((kind) => this.#caches[kind].unsynced().map((namespace) => nameOf(kind, namespace)))
  }

  /** Reflectors that took no step for so long. */
  stuckFor(millis: number): readonly string[] {
    const now = this.#options.clock.monotonic()
    return [...this.#steps].filter(([, at]) => now - at > millis).map(([name]) => name)
  }

  onChange(
    listener: <K extends WatchedKind>(
      kind: K,
      change: { readonly before: Watched[K] | undefined; readonly after: Watched[K] | undefined },
    ) => void,
  ): void {
    for (const kind of KINDS)
      this.#caches[kind].onChange((change) => listener(kind, change as Change<kube.KubeObject & Watched[typeof kind]>))
  }

  /** The answer to a write of ours. Kinds that are not watched are ignored. */
  expect(object: kube.KubeObject): void {
    const kind = KINDS.find((one) => one === object.kind)
    if (kind === undefined) return
    this.#caches[kind].expect(prepare(object))
  }

  ours(): Ours {
    return { streams: this.#list('SendingStream'), pools: this.#list('IPPool'), instances: this.#list('MTAInstance') }
  }

  snapshot(secrets: readonly SecretFacts[]): FleetSnapshot {
    return {
      ...this.ours(),
      pods: this.#list<Pod>('Pod'),
      claims: this.#list<VolumeClaim>('PersistentVolumeClaim'),
      volumes: this.#list<Volume>('PersistentVolume'),
      storageClasses: this.#list<StorageClass>('StorageClass'),
      nodes: this.#list<Node>('Node'),
      secrets,
      services: this.#list<KubeObject>('Service'),
      serviceAccounts: this.#list<KubeObject>('ServiceAccount'),
      roles: this.#list<KubeObject>('Role'),
      roleBindings: this.#list<KubeObject>('RoleBinding'),
      disruptionBudgets: this.#list<KubeObject>('PodDisruptionBudget'),
      leases: this.#list<Lease>('Lease'),
      endpointSlices: this.#list<KubeObject>('EndpointSlice'),
      settings: this.#options.settings,
    }
  }

  /** Objects come from the API server, which has checked them against the schema of their kind. */
  #list<T>(kind: WatchedKind): readonly T[] {
    return this.#caches[kind].list() as unknown as readonly T[]
  }

  #reflectors(kind: WatchedKind): readonly ((signal: AbortSignal) => Promise<void>)[] {
    const { client, namespaces, clock, onReport } = this.#options
    const of = WATCHED[kind] as kube.Resource
    const places = of.namespaced && namespaces.length > 0 ? namespaces : [undefined]
    return places.map((namespace) => {
      const name = nameOf(kind, namespace)
      const sink = this.#caches[kind].openSection(namespace)
      const onStep = () => this.#steps.set(name, clock.monotonic())
      const labelSelector = SELECTED[kind]
      const selection = { ...(namespace === undefined ? {} : { namespace }), ...(labelSelector === undefined ? {} : { labelSelector }) }
      const isGone = (signal: AbortSignal) => this.#isGone(namespace, signal)
      return (signal) =>
        runReflector({ client, of, selection, sink, clock, isGone, trim, onStep, onReport: (report) => onReport(kind, report) }, signal)
    })
  }
}

const nameOf = (kind: WatchedKind, namespace: string | undefined): string => (namespace === undefined ? kind : `${kind} in ${namespace}`)

function prepare(object: kube.KubeObject): kube.KubeObject {
  const { managedFields: _, ...metadata } = object.metadata as kube.ObjectMeta & { readonly managedFields?: unknown }
  return trim({ ...object, metadata })
}

/** Whole when it is of our making or a kind that is read whole; of foreign Pods, Services and the like only who and whose they are. */
function trim(object: kube.KubeObject): kube.KubeObject {
  const { apiVersion, kind, metadata } = object
  if (kind === 'Node') return trimNode(object)
  const isRead = apiVersion === API_VERSION || kind === 'PersistentVolume' || kind === 'StorageClass'
  const isOurs =
    metadata.labels?.[LABELS.managedBy] === GROUP || metadata.ownerReferences?.some((owner) => owner.apiVersion === API_VERSION)
  if (isRead || isOurs === true) return object
  const { labels: _labels, annotations: _annotations, ...identity } = metadata
  return { ...(apiVersion === undefined ? {} : { apiVersion }), ...(kind === undefined ? {} : { kind }), metadata: identity }
}

/** A node lists every image it has: kilobytes that nobody here reads. */
function trimNode(
  node: kube.KubeObject & { readonly status?: { readonly conditions?: unknown; readonly addresses?: unknown } },
): kube.KubeObject {
  return { ...node, status: { conditions: node.status?.conditions, addresses: node.status?.addresses } } as kube.KubeObject
}
