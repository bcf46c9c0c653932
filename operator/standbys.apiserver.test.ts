import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { formatRecord, parseRecord } from '#agent/contract/record.ts'
import { findCondition } from '#crds/conditions.ts'
import { FIELD_OWNERS } from '#crds/group.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { type Client, openClient } from '#kube/client.ts'
import { systemClock } from '#kube/clock.ts'
import { openKubeconfig } from '#kube/config.ts'
import * as kube from '#kube/resources.ts'
import { condition, settings } from '#test/builders/fleet.ts'
import { nodeAddress, pool, secret, stream } from '#test/builders/manifests.ts'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { watchFor } from '#test/support/wait.ts'
import { Fleet, WATCHED } from './fleet.ts'
import { openLog } from './log.ts'
import { openMetrics } from './metrics.ts'
import { Operator } from './operator.ts'

/**
 * A stream with a standby against a real API server: records, endpoints, certificates and what is asked of agents, with the server's own defaults, schemas
 * and preconditions. Kubelets and agents are played by this test. The tests follow one another.
 */

const MAIL = 'mail'
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 30_000, everyMillis: 100 }
const stop = new AbortController()
const RECORD = { namespace: MAIL, name: 'bulk-0' }

let server: ApiServer
let admin: Client
let running: Promise<unknown>

beforeAll(async () => {
  server = await openApiServer()
  admin = openClient(await openKubeconfig(server.kubeconfig))
  await admin.create(kube.NAMESPACES, { metadata: { name: MAIL } }, call)
  for (const file of ['sendingstreams', 'ippools', 'mtainstances']) {
    const crd = parse(await readFile(join(import.meta.dirname, `../crds/${file}.yaml`), 'utf8')) as kube.AnyObject
    await admin.create(kube.CUSTOM_RESOURCE_DEFINITIONS, crd, call)
    await watchFor(`${file} to be served`, async () => (await isServed(`/apis/mtafleet.io/v1alpha1/${file}`)) || undefined, patience)
  }
  for (const index of [1, 2]) {
    const addresses = [{ type: 'InternalIP', address: `203.0.113.1${index}` }]
    const node = { metadata: { name: `node${index}` }, status: { conditions: [{ type: 'Ready', status: 'True' }], addresses } }
    await admin.create(kube.NODES, node, call)
    await admin.patch(kube.NODES, { name: `node${index}` }, { spec: { taints: null } }, call)
  }
  await admin.create(kube.STORAGE_CLASSES, { metadata: { name: 'local-ssd' }, provisioner: 'example.com/played' }, call)
  for (const [name, content] of [
    ['submission-tls', { 'tls.crt': 'c', 'tls.key': 'k' }],
    ['submission-users', { ada: 'x' }],
  ] as const) {
    const { metadata, ...rest } = secret(name, content)
    await admin.create(kube.SECRETS, { ...rest, metadata: { ...metadata, namespace: MAIL } }, call)
  }
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

const SILENT = { record: () => undefined, [Symbol.asyncDispose]: async () => undefined }
const isServed = async (path: string): Promise<boolean> =>
  admin.read(path, call).then(
    () => true,
    () => false,
  )
const inMail = <T>(manifest: object): T => ({ ...manifest, metadata: { ...(manifest as kube.KubeObject).metadata, namespace: MAIL } }) as T
const list = async <T extends kube.KubeObject>(of: kube.Resource<T>): Promise<readonly T[]> =>
  (await admin.list(of, { namespace: MAIL }, call)).items
const keyOf = ({ metadata }: kube.KubeObject) => ({ namespace: MAIL, name: metadata.name })
const find = <T extends kube.KubeObject>(of: kube.Resource<T>, name: string) => admin.find(of, { namespace: MAIL, name }, call)

/** One step of everything that is not the operator. */
async function moveOn(): Promise<void> {
  for (const claim of await list(kube.VOLUME_CLAIMS)) await bind(claim)
  for (const pod of await list(kube.PODS)) await runPod(pod)
  const pods = (await list(kube.PODS)).map(({ metadata }) => metadata.name)
  for (const instance of await list(WATCHED.MTAInstance)) if (pods.includes(instance.metadata.name)) await report(instance)
  await keepRecord(pods)
}

async function bind(claim: kube.AnyObject): Promise<void> {
  if ((claim['spec'] as { volumeName?: string }).volumeName !== undefined) return
  await admin.patch(kube.VOLUME_CLAIMS, keyOf(claim), { spec: { volumeName: `pv-${claim.metadata.name}` } }, call)
  await admin.applyStatus(kube.VOLUME_CLAIMS, { metadata: keyOf(claim), status: { phase: 'Bound' } }, { owner: 'played' }, call)
}

const BINDINGS = kube.resource({ group: '', version: 'v1', kind: 'Binding', plural: 'bindings', namespaced: true })

async function runPod(pod: kube.AnyObject): Promise<void> {
  if (pod.metadata.deletionTimestamp !== undefined) return admin.delete(kube.PODS, keyOf(pod), { gracePeriodSeconds: 0 }, call)
  if ((pod['spec'] as { nodeName?: string }).nodeName !== undefined) return
  const name = (await find(WATCHED.MTAInstance, pod.metadata.name))?.spec.nodeName
  await admin.create(BINDINGS, { metadata: keyOf(pod), target: { kind: 'Node', name } }, call)
  const status = {
    phase: 'Running',
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'PodScheduled', status: 'True' },
    ],
    containerStatuses: [{ name: 'agent', ready: true, restartCount: 0, image: 'x', imageID: 'x', state: { running: {} } }],
  }
  await admin.applyStatus(kube.PODS, { metadata: keyOf(pod), status }, { owner: 'played' }, call)
}

async function report(instance: MTAInstance & kube.KubeObject): Promise<void> {
  const { generation = 1, name } = instance.metadata
  const lease = await admin.find(kube.LEASES, RECORD, call)
  const isPrimary = lease !== undefined && parseRecord(lease).holder.instance === name
  const says = (type: string, holds: boolean) => condition(type, holds ? 'True' : 'False', generation)
  const conditions = [
    says('Accepting', isPrimary),
    says('Delivering', isPrimary),
    says('AddressesPresent', true),
    says('StorageAvailable', true),
    says('CredentialsLoaded', true),
    says('Drained', instance.spec.mode === 'Drain'),
  ]
  const replication = {
    copyId: `${name}-copy`,
    incarnation: `${name}-1`,
    role: isPrimary ? 'Primary' : 'Standby',
    epoch: 1,
    inSync: [name],
    lagEntries: 0,
  }
  const queue = { messages: 0, recipients: 0, deferred: 0 }
  const agent = { observedGeneration: generation, addresses: instance.spec.addresses.map(({ address }) => address), queue, replication }
  const status = { metadata: keyOf(instance), status: { conditions, agent } }
  await admin.applyStatus(WATCHED.MTAInstance, status, { owner: FIELD_OWNERS.agent }, call)
}

/** The primary has those in its set that are there. */
async function keepRecord(pods: readonly string[]): Promise<void> {
  const lease = await admin.find(kube.LEASES, RECORD, call)
  if (lease === undefined) return
  const record = parseRecord(lease)
  if (!pods.includes(record.holder.instance)) return
  await writeRecord(lease, { ...record, inSync: pods.map((instance) => ({ instance, copy: `${instance}-copy` })) })
}

async function writeRecord(lease: kube.Lease, record: Parameters<typeof formatRecord>[0]): Promise<void> {
  const { annotations, spec } = formatRecord(record)
  if (
    lease.metadata.annotations?.['mtafleet.io/in-sync'] === annotations['mtafleet.io/in-sync'] &&
    lease.spec?.leaseTransitions === record.epoch
  )
    return
  const metadata = { ...lease.metadata, annotations: { ...lease.metadata.annotations, ...annotations } }
  await admin.update(kube.LEASES, { ...lease, metadata, spec: { ...lease.spec, ...spec } } as kube.Lease, call)
}

/** Moves the world on until the fact is there. */
const see = async <T>(what: string, fact: () => Promise<T | undefined>): Promise<T> =>
  watchFor(
    what,
    async () => {
      await moveOn()
      return fact()
    },
    patience,
    async () =>
      JSON.stringify(
        [...(await list(WATCHED.SendingStream)), ...(await list(WATCHED.MTAInstance))].map(({ metadata, status }) => [
          metadata.name,
          status,
        ]),
      ),
  )
const streamNow = () => find(WATCHED.SendingStream, 'bulk')
const says = async (type: Parameters<typeof findCondition>[1]) => {
  const found = findCondition((await streamNow())?.status?.conditions, type)
  return found === undefined ? undefined : `${found.status} ${found.reason}`
}
const patchStream = (spec: object) => admin.patch(WATCHED.SendingStream, { namespace: MAIL, name: 'bulk' }, { spec }, call)

test('a pair comes up, with its record, its endpoints and certificates that fit', async () => {
  await admin.create(WATCHED.IPPool, inMail<IPPool>(pool('bulk', { addresses: [nodeAddress(1, 1), nodeAddress(2, 1)] })), call)
  await admin.create(
    WATCHED.SendingStream,
    inMail<SendingStream>(stream('bulk', { standbysPerPrimary: 1, failover: { timing: 'Fast' } })),
    call,
  )
  await see('the stream to be Ready', async () => ((await says('Ready')) === 'True Serving' ? true : undefined))
  expect([await says('InSync'), await says('FailoverPossible'), await says('AcceptingAlone')]).toEqual([
    'True InSync',
    'True StandbyInSync',
    'False Copied',
  ])
  expect((await streamNow())?.status?.shards).toEqual([
    { shard: 0, primary: 'bulk-0-a', nodeName: 'node1', ready: 'True', standbys: ['bulk-0-b'], epoch: 1, inSync: ['bulk-0-a', 'bulk-0-b'] },
  ])
  expect((await find(WATCHED.MTAInstance, 'bulk-0-a'))?.spec.replication).toMatchObject({
    timing: 'Fast',
    peers: [{ instance: 'bulk-0-b', address: '203.0.113.12' }],
  })
  const slice = await find(kube.ENDPOINT_SLICES, 'bulk-0')
  expect([slice?.['addressType'], slice?.metadata.labels?.['kubernetes.io/service-name']]).toEqual(['IPv4', 'bulk-submission'])
  const [own, other] = await Promise.all(['bulk-0-a', 'bulk-0-b'].map((name) => certificateOf(name)))
  expect(own?.subjectAltName).toBe('DNS:bulk-0-a.bulk.mail.mtafleet')
  expect(own?.issuer).toBe(other?.issuer)
})

async function certificateOf(instance: string): Promise<X509Certificate> {
  const data = (await find(kube.SECRETS, `${instance}-replication`))?.['data'] as Record<string, string>
  return new X509Certificate(Buffer.from(data['tls.crt'] ?? '', 'base64'))
}

test('a node that is cordoned has its primary asked to hand over, and the shard shows who leads then', async () => {
  await admin.patch(kube.NODES, { name: 'node1' }, { spec: { unschedulable: true } }, call)
  await see('the request', async () => (await find(WATCHED.MTAInstance, 'bulk-0-a'))?.metadata.annotations?.['mtafleet.io/switchover'])
  const lease = await admin.get(kube.LEASES, RECORD, call)
  await writeRecord(lease, { ...parseRecord(lease), holder: { instance: 'bulk-0-b', incarnation: 'bulk-0-b-1' }, epoch: 2 })
  const shard = await see('the other one to lead', async () => {
    const [first] = (await streamNow())?.status?.shards ?? []
    return first?.epoch === 2 ? first : undefined
  })
  expect([shard.primary, shard.standbys]).toEqual(['bulk-0-b', ['bulk-0-a']])
  await admin.patch(kube.NODES, { name: 'node1' }, { spec: { unschedulable: null } }, call)
})

test('without standbys the primary stays, and the other one goes when its copy has left the set', async () => {
  await patchStream({ standbysPerPrimary: 0 })
  await see('the standby to be gone', async () => ((await list(WATCHED.MTAInstance)).length === 1 ? true : undefined))
  expect((await list(WATCHED.MTAInstance)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-b'])
  expect(parseRecord(await admin.get(kube.LEASES, RECORD, call)).inSync.map(({ instance }) => instance)).toEqual(['bulk-0-b'])
})

test('the record stays with the volumes when the stream goes, and holds up nothing', async () => {
  await admin.delete(WATCHED.SendingStream as kube.Resource, { namespace: MAIL, name: 'bulk' }, {}, call)
  await see('the stream to be gone', async () => ((await streamNow()) === undefined ? true : undefined))
  const lease = await admin.get(kube.LEASES, RECORD, call)
  expect([lease.metadata.finalizers, parseRecord(lease).epoch]).toEqual([undefined, 2])
})
