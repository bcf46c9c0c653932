import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { type Client, openClient } from '#kube/client.ts'
import { systemClock } from '#kube/clock.ts'
import { openKubeconfig } from '#kube/config.ts'
import * as kube from '#kube/resources.ts'
import { Fleet, WATCHED } from '#operator/fleet.ts'
import { openLog } from '#operator/log.ts'
import { openMetrics } from '#operator/metrics.ts'
import { Operator } from '#operator/operator.ts'
import { settings } from '#test/builders/fleet.ts'
import { secret } from '#test/builders/manifests.ts'
import { watchFor } from '#test/support/wait.ts'
import { openApiServer } from './api-server.ts'

/**
 * An operator in this process on a bare API server, and the little that it finds there: one namespace with the Secrets of a stream, nodes, a storage
 * class. Scheduler, volume controller and kubelets are played, a step at a time; agents are the test's own to play.
 */

export type Ground = {
  readonly namespace: string
  readonly namespaceLabels?: Readonly<Record<string, string>>
  /** node1, node2, … */
  readonly nodes: number
}

export type RunningOperator = AsyncDisposable & {
  readonly admin: Client
  /** The same object, in the namespace. */
  readonly here: <T extends kube.KubeObject>(manifest: object) => T
  /** All of that kind in the namespace. */
  readonly list: <T extends kube.KubeObject>(of: kube.Resource<T>) => Promise<readonly T[]>
  readonly find: <T extends kube.KubeObject>(of: kube.Resource<T>, name: string) => Promise<T | undefined>
  /** One step: claims are bound, Pods run on the node of their instance, and those that are to end are gone. */
  readonly playNodes: () => Promise<void>
}

const call = { signal: new AbortController().signal }

export async function openRunningOperator(ground: Ground): Promise<RunningOperator> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openApiServer())
  const admin = stack.use(openClient(await openKubeconfig(server.kubeconfig)))
  await layGround(admin, ground)
  const { namespace } = ground
  stack.use(await runOperator(admin))
  const resources = stack.move()
  const running: RunningOperator = {
    admin,
    here: (manifest) => inNamespace(namespace, manifest),
    list: async (of) => (await admin.list(of, { namespace }, call)).items,
    find: (of, name) => admin.find(of, { namespace, name }, call),
    playNodes: async () => {
      for (const claim of await running.list(kube.VOLUME_CLAIMS)) await bind(admin, claim)
      for (const pod of await running.list(kube.PODS)) await runPod(admin, pod)
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
  return running
}

const inNamespace = <T extends kube.KubeObject>(namespace: string, manifest: object): T =>
  ({ ...manifest, metadata: { ...(manifest as kube.KubeObject).metadata, namespace } }) as T

async function layGround(admin: Client, { namespace, namespaceLabels = {}, nodes }: Ground): Promise<void> {
  await admin.create(kube.NAMESPACES, { metadata: { name: namespace, labels: namespaceLabels } }, call)
  for (const plural of ['sendingstreams', 'ippools', 'mtainstances']) {
    const definition = parse(readFileSync(new URL(`../../crds/${plural}.yaml`, import.meta.url), 'utf8')) as kube.AnyObject
    await admin.create(kube.CUSTOM_RESOURCE_DEFINITIONS, definition, call)
    const isServed = () =>
      admin.read(`/apis/mtafleet.io/v1alpha1/${plural}`, call).then(
        () => true,
        () => false,
      )
    await watchFor(`${plural} to be served`, isServed, { withinMillis: 30_000 })
  }
  for (const index of Array.from({ length: nodes }, (_, before) => before + 1)) {
    const addresses = [{ type: 'InternalIP', address: `203.0.113.1${index}` }]
    const node = { metadata: { name: `node${index}` }, status: { conditions: [{ type: 'Ready', status: 'True' }], addresses } }
    await admin.create(kube.NODES, node, call)
    // Every new node is tainted as not ready, until the node controller has seen it well; here is none.
    await admin.patch(kube.NODES, { name: `node${index}` }, { spec: { taints: null } }, call)
  }
  await admin.create(kube.STORAGE_CLASSES, { metadata: { name: 'local-ssd' }, provisioner: 'example.com/played' }, call)
  await admin.create(kube.SECRETS, inNamespace(namespace, secret('submission-tls', { 'tls.crt': 'c', 'tls.key': 'k' })), call)
  await admin.create(kube.SECRETS, inNamespace(namespace, secret('submission-users', { ada: 'x' })), call)
}

const SILENT = { record: () => undefined, [Symbol.asyncDispose]: async () => undefined }

/** Running, with caches that are full, until it is disposed of. */
async function runOperator(client: Client): Promise<AsyncDisposable> {
  const stop = new AbortController()
  const fleet = new Fleet({ client, namespaces: [], clock: systemClock, settings, onReport: () => undefined })
  const log = openLog({ logLevel: 'Error', podName: 'test' })
  const operator = new Operator({ client, fleet, events: SILENT, clock: systemClock, log, metrics: openMetrics() })
  const watching = fleet.run(stop.signal)
  await fleet.waitForSync(stop.signal)
  const running = Promise.all([watching, operator.run(stop.signal)])
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await running
    },
  }
}

async function bind(admin: Client, claim: kube.AnyObject): Promise<void> {
  if ((claim['spec'] as { volumeName?: string }).volumeName !== undefined) return
  const key = kube.keyOf(claim)
  await admin.patch(kube.VOLUME_CLAIMS, key, { spec: { volumeName: `pv-${claim.metadata.name}` } }, call)
  await admin.applyStatus(kube.VOLUME_CLAIMS, { metadata: key, status: { phase: 'Bound' } }, { owner: 'played' }, call)
}

const BINDINGS = kube.resource({ group: '', version: 'v1', kind: 'Binding', plural: 'bindings', namespaced: true })

async function runPod(admin: Client, pod: kube.AnyObject): Promise<void> {
  const key = kube.keyOf(pod)
  if (pod.metadata.deletionTimestamp !== undefined) return admin.delete(kube.PODS, key, { gracePeriodSeconds: 0 }, call)
  if ((pod['spec'] as { nodeName?: string }).nodeName !== undefined) return
  const instance = await admin.find(WATCHED.MTAInstance, key, call)
  await admin.create(BINDINGS, { metadata: key, target: { kind: 'Node', name: instance?.spec.nodeName } }, call)
  const status = {
    phase: 'Running',
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'PodScheduled', status: 'True' },
    ],
    containerStatuses: [{ name: 'agent', ready: true, restartCount: 0, image: 'x', imageID: 'x', state: { running: {} } }],
  }
  await admin.applyStatus(kube.PODS, { metadata: key, status }, { owner: 'played' }, call)
}
