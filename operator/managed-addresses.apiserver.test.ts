import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { findCondition } from '#crds/conditions.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { type Client, openClient } from '#kube/client.ts'
import { systemClock } from '#kube/clock.ts'
import { openKubeconfig } from '#kube/config.ts'
import * as kube from '#kube/resources.ts'
import { settings } from '#test/builders/fleet.ts'
import { pool, secret, stream } from '#test/builders/manifests.ts'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { watchFor } from '#test/support/wait.ts'
import { Fleet, WATCHED } from './fleet.ts'
import { openLog } from './log.ts'
import { openMetrics } from './metrics.ts'
import { Operator } from './operator.ts'

/** Addresses that go with the role against a real API server, with its schemas and its Pod Security. The tests follow one another. */

const NAMESPACE = 'strict'
const INSTANCE = { namespace: NAMESPACE, name: 'bulk-0-a' }
const ENFORCE = 'pod-security.kubernetes.io/enforce'
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 30_000, everyMillis: 100 }
const stop = new AbortController()
const SILENT = { record: () => undefined, [Symbol.asyncDispose]: async () => undefined }

let server: ApiServer
let admin: Client
let running: Promise<unknown>

beforeAll(async () => {
  server = await openApiServer()
  admin = openClient(await openKubeconfig(server.kubeconfig))
  await admin.create(kube.NAMESPACES, { metadata: { name: NAMESPACE, labels: { [ENFORCE]: 'baseline' } } }, call)
  for (const file of ['sendingstreams', 'ippools', 'mtainstances']) {
    const crd = parse(await readFile(join(import.meta.dirname, `../crds/${file}.yaml`), 'utf8')) as kube.AnyObject
    await admin.create(kube.CUSTOM_RESOURCE_DEFINITIONS, crd, call)
    await watchFor(`${file} to be served`, () => isServed(`/apis/mtafleet.io/v1alpha1/${file}`), patience)
  }
  await admin.create(kube.NODES, { metadata: { name: 'node1' } }, call)
  await admin.patch(kube.NODES, { name: 'node1' }, { spec: { taints: null } }, call)
  await admin.create(kube.STORAGE_CLASSES, { metadata: { name: 'local-ssd' }, provisioner: 'example.com/played' }, call)
  await admin.create(kube.SECRETS, here(secret('submission-tls', { 'tls.crt': 'c', 'tls.key': 'k' })), call)
  await admin.create(kube.SECRETS, here(secret('submission-users', { ada: 'x' })), call)
  const fleet = new Fleet({ client: admin, namespaces: [], clock: systemClock, settings, onReport: () => undefined })
  const log = openLog({ logLevel: 'Error', podName: 'test' })
  const operator = new Operator({ client: admin, fleet, events: SILENT, clock: systemClock, log, metrics: openMetrics() })
  const watching = fleet.run(stop.signal)
  await fleet.waitForSync(stop.signal)
  running = Promise.all([watching, operator.run(stop.signal)])
})
afterAll(async () => {
  stop.abort()
  await running
  await admin[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const isServed = async (path: string): Promise<true | undefined> =>
  admin.read(path, call).then(
    () => true as const,
    () => undefined,
  )
const here = <T>(manifest: object): T =>
  ({ ...manifest, metadata: { ...(manifest as kube.KubeObject).metadata, namespace: NAMESPACE } }) as T
const ready = async () => {
  const { status } = (await admin.find(WATCHED.MTAInstance, INSTANCE, call)) ?? {}
  return findCondition(status?.conditions, 'Ready')
}

test('a namespace whose Pod Security forbids it: the condition says so, and names what is forbidden', async () => {
  const addresses = [{ address: '192.0.2.11', hostName: 'mta-11.senders.example', interface: 'eth0', prefixLength: 24 }]
  await admin.create(WATCHED.IPPool, here<IPPool & kube.KubeObject>(pool('bulk', { addresses, attachment: 'Managed' })), call)
  await admin.create(WATCHED.SendingStream, here<SendingStream & kube.KubeObject>(stream('bulk')), call)
  const said = await watchFor('the refusal', async () => ((await ready())?.reason === 'Refused' ? ready() : undefined), patience)
  expect(said?.message).toContain('violates PodSecurity "baseline:latest"')
  expect(said?.message).toContain('host namespaces (hostNetwork=true)')
  expect(said?.message).toContain('container "address-holder" must not include "NET_ADMIN", "NET_RAW" in securityContext.capabilities.add')
  const owner = await admin.get(WATCHED.SendingStream, { namespace: NAMESPACE, name: 'bulk' }, call)
  expect(findCondition(owner.status?.conditions, 'Ready')).toMatchObject({ status: 'False', reason: 'Refused' })
  expect(findCondition(owner.status?.conditions, 'Stalled')?.status).toBe('True')
})

test('once it is privileged the server takes spec and Pod as they are meant', async () => {
  await admin.patch(kube.NAMESPACES, { name: NAMESPACE }, { metadata: { labels: { [ENFORCE]: 'privileged' } } }, call)
  // The operator tries again after a while; a touch makes it now.
  await admin.patch(WATCHED.MTAInstance, INSTANCE, { metadata: { annotations: { touched: 'yes' } } }, call)
  const pod = await watchFor('the Pod', () => admin.find(kube.PODS, INSTANCE, call), patience)
  const { spec } = await admin.get(WATCHED.MTAInstance, INSTANCE, call)
  expect([spec.nodeName, spec.addressAttachment, spec.addresses]).toEqual([
    'node1',
    'Managed',
    [{ address: '192.0.2.11', hostName: 'mta-11.senders.example', interface: 'eth0', prefixLength: 24 }],
  ])
  const { initContainers } = pod['spec'] as { readonly initContainers: readonly { readonly securityContext: unknown }[] }
  expect(initContainers.map(({ securityContext }) => securityContext)).toEqual([
    {
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: 65532,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
    },
  ])
})
