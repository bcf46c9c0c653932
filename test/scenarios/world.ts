import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Arrival } from '#test/internet/arrival.ts'
import { compare } from '#test/internet/compare.ts'
import { type Manifest, nodeAddress, type StreamOptions } from '#test/builders/manifests.ts'
import type { Authority } from '#test/support/certificates.ts'
import { waitFor } from '#test/support/wait.ts'
import type { Internet } from './internet.ts'

/**
 * What is around one stage: where its mail goes, where its client runs, what its nodes have. Beside the local cluster that is the small internet;
 * on another cluster it is a receiving provider and a client as Pods in the stage's own namespace, so that no mail leaves it.
 */
export type World = {
  readonly internet: Internet
  /** In front of a command: runs it where it reaches Services. */
  readonly clientExec: readonly string[]
  /** The mail client, to be run with `clientExec`; its arguments follow. */
  readonly submit: readonly string[]
  /** The certificate of the authority, as the client finds it. */
  readonly caFile: string
  /** Whether receivers see the address that a connection was opened from: no network of the cluster translates it on the way. */
  readonly seesSources: boolean
  /** What every stream of the stage needs here. */
  streamOptions(): Promise<Pick<StreamOptions, 'queue' | 'routes'>>
  /** Addresses of the pool for the first, second, … node. */
  sourceAddresses(nodes: readonly number[], addressesOf: readonly number[]): Promise<ReturnType<typeof nodeAddress>[]>
  /** Called when the namespace is there and empty. */
  open(): Promise<void>
}

/** The node that clients submit from; it runs no instance in any scenario that takes a node away. */
const CLIENT_NODE = 4

export const localWorld = (internet: Internet, authority: Authority): World => ({
  internet,
  clientExec: ['nsenter', `--net=/run/netns/mtafleet-node${CLIENT_NODE}`],
  submit: [process.execPath, join(import.meta.dirname, '../internet/submit.ts')],
  caFile: authority.file,
  seesSources: true,
  streamOptions: async () => ({}),
  sourceAddresses: async (nodes, addressesOf) => nodes.flatMap((node) => addressesOf.map((k) => nodeAddress(node, k))),
  open: async () => {},
})

/** What cannot be done on the cluster that was named: for whoever named it, not for whoever mends the code. */
export class UnfitCluster extends Error {
  override readonly name = 'UnfitCluster'
}

export type ForeignCluster = {
  /** kubectl as a command, with what selects the cluster. */
  readonly command: readonly string[]
  readonly authority: Authority
  readonly testImage: string
  readonly storageClassName: string
  kubectl(...args: readonly string[]): Promise<string>
  kubectlApply(manifests: readonly Manifest[], namespace: string): Promise<void>
}

const SINK_PORT = 2525
const INTERNET = '/app/test/internet'
const CA_FOLDER = '/etc/scenario-ca'
const STARTS_WITHIN_MILLIS = 120_000

export function foreignWorld(cluster: ForeignCluster, namespace: string): World {
  const kubectl = (...args: readonly string[]) => cluster.kubectl('-n', namespace, ...args)
  return {
    internet: sinkAsInternet(kubectl),
    clientExec: [...cluster.command, '-n', namespace, 'exec', '-i', 'client', '--'],
    submit: ['node', `${INTERNET}/submit.ts`],
    caFile: `${CA_FOLDER}/ca.crt`,
    seesSources: false,
    async streamOptions() {
      const { spec } = JSON.parse(await kubectl('get', 'service', 'sink', '-o', 'json')) as { spec: { clusterIP: string } }
      return {
        queue: { storageClassName: cluster.storageClassName },
        routes: [{ domain: '*', nextHop: { host: spec.clusterIP, port: SINK_PORT } }],
      }
    },
    sourceAddresses: async (nodes) => findAddresses(await kubectl('get', 'nodes', '-o', 'json'), nodes),
    async open() {
      const authority = await readFile(cluster.authority.file, 'utf8')
      await cluster.kubectlApply(manifestsOf(cluster.testImage, authority), namespace)
      for (const name of ['sink', 'client']) await untilReady(kubectl, name, cluster.testImage)
    },
  }
}

/** With the kubelet's own words when a Pod does not start: the image is the likely reason, and nobody else can bring it there. */
async function untilReady(kubectl: ForeignCluster['kubectl'], name: string, image: string): Promise<void> {
  await waitFor(
    `Pod ${name} of image ${image} to be ready; the cluster must have that image (npm run image -- --content test)`,
    async () => {
      const pod = JSON.parse(await kubectl('get', 'pod', name, '-o', 'json')) as {
        status: { containerStatuses?: { ready: boolean; state?: { waiting?: { reason?: string; message?: string } } }[] }
      }
      const container = pod.status.containerStatuses?.[0]
      if (container?.ready === true) return true
      const { reason = 'not ready yet', message = '' } = container?.state?.waiting ?? {}
      throw new Error(`${reason} ${message}`)
    },
    { withinMillis: STARTS_WITHIN_MILLIS, everyMillis: 1000 },
  )
}

const sinkAsInternet = (kubectl: ForeignCluster['kubectl']): Internet => {
  const ask = (...args: readonly string[]) => kubectl('exec', 'sink', '--', 'node', `${INTERNET}/main.ts`, ...args)
  const arrivals = async (): Promise<readonly Arrival[]> => {
    const all = JSON.parse(await ask('arrived', '--json')) as Arrival[]
    return all.filter(({ outcome }) => outcome === 'arrived')
  }
  return {
    // One provider takes all of them.
    friendlyDomains: ['plain.example', 'starttls.example', 'other.example'],
    get plainAddress(): string {
      throw new Error('the addresses of providers are known beside the local cluster only')
    },
    async behave(provider) {
      throw new Error(`${provider} can be told how to behave beside the local cluster only`)
    },
    // The sink is as new as the stage.
    reset: async () => {},
    arrivals,
    beginnings: async () => {
      throw new Error('who began a transaction is asked beside the local cluster only: elsewhere addresses are translated on the way')
    },
    compare: async (expectation) => compare(expectation, await arrivals()),
  }
}

/** Throws when the cluster has none. */
export function findDefaultClass(classList: string): string {
  const { items } = JSON.parse(classList) as { items: { metadata: { name: string; annotations?: Readonly<Record<string, string>> } }[] }
  const found = items.find(({ metadata }) => metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true')
  if (found !== undefined) return found.metadata.name
  const names = items.map(({ metadata }) => metadata.name).join(', ') || 'none at all'
  throw new UnfitCluster(`the cluster must have a default StorageClass, or --storage-class must name one of: ${names}`)
}

type Node = {
  readonly metadata: { readonly name: string }
  readonly spec: { readonly unschedulable?: boolean; readonly taints?: readonly { readonly effect: string }[] }
  readonly status: {
    readonly addresses: readonly { readonly type: string; readonly address: string }[]
    readonly conditions: readonly { readonly type: string; readonly status: string }[]
  }
}

/** The N-th node by name that takes Pods, with the address it has anyway. Throws when there are too few. */
export function findAddresses(nodeList: string, wanted: readonly number[]): ReturnType<typeof nodeAddress>[] {
  const { items } = JSON.parse(nodeList) as { items: Node[] }
  const usable = items
    .filter(({ spec }) => spec.unschedulable !== true && !(spec.taints ?? []).some(({ effect }) => effect !== 'PreferNoSchedule'))
    .filter(({ status }) => status.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True'))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  return wanted.map((number) => {
    const node = usable[number - 1]
    if (node === undefined)
      throw new UnfitCluster(`the cluster must have ${number} nodes that are Ready and take Pods, has ${usable.length}`)
    const address = node.status.addresses.find(({ type }) => type === 'InternalIP')?.address
    if (address === undefined) throw new UnfitCluster(`node '${node.metadata.name}' must have an InternalIP, has none`)
    return { address, hostName: `mta-${number}.senders.example`, nodeName: node.metadata.name }
  })
}

const CLOSED = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, readOnlyRootFilesystem: true }

const pod = (name: string, container: Readonly<Record<string, unknown>>, volume: Readonly<Record<string, unknown>>): Manifest => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 2,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      fsGroup: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [{ name, imagePullPolicy: 'IfNotPresent', securityContext: CLOSED, ...container }],
    volumes: [{ name: 'data', ...volume }],
  },
})

function manifestsOf(image: string, authority: string): readonly Manifest[] {
  const sink = {
    image,
    command: ['node', `${INTERNET}/sink.ts`, '$(POD_IP)', String(SINK_PORT)],
    env: [
      { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'MTAFLEET_INTERNET_DIR', value: '/run/internet' },
    ],
    readinessProbe: { tcpSocket: { port: SINK_PORT }, periodSeconds: 1 },
    volumeMounts: [{ name: 'data', mountPath: '/run/internet' }],
  }
  const client = { image, command: ['sleep', 'infinity'], volumeMounts: [{ name: 'data', mountPath: CA_FOLDER }] }
  return [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'scenario-ca' }, data: { 'ca.crt': authority } },
    pod('sink', sink, { emptyDir: {} }),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'sink' },
      spec: { selector: { app: 'sink' }, ports: [{ port: SINK_PORT, targetPort: SINK_PORT }] },
    },
    pod('client', client, { configMap: { name: 'scenario-ca' } }),
  ]
}
