import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
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
 * The life of a stream against a real API server: its generations, finalizers, server-side apply and preconditions. Kubelet, volume controller and agents are
 * played by this test, which moves them on at every look. The tests follow one another.
 */

const MAIL = 'mail'
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 30_000, everyMillis: 100 }
const stop = new AbortController()

let server: ApiServer
let admin: Client
let running: Promise<unknown>
/** Messages in every queue, as the agents count them. */
let messages = 0

beforeAll(async () => {
  server = await openApiServer()
  admin = openClient(await openKubeconfig(server.kubeconfig))
  await admin.create(kube.NAMESPACES, { metadata: { name: MAIL } }, call)
  for (const file of ['sendingstreams', 'ippools', 'mtainstances']) {
    const crd = parse(await readFile(join(import.meta.dirname, `../crds/${file}.yaml`), 'utf8')) as kube.AnyObject
    await admin.create(kube.CUSTOM_RESOURCE_DEFINITIONS, crd, call)
    await watchFor(`${file} to be served`, async () => (await isServed(`/apis/mtafleet.io/v1alpha1/${file}`)) || undefined, patience)
  }
  await admin.create(kube.NODES, { metadata: { name: 'node1' }, status: { conditions: [{ type: 'Ready', status: 'True' }] } }, call)
  await admin.patch(kube.NODES, { name: 'node1' }, { spec: { taints: null } }, call)
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

/** One step of everything that is not the operator. */
async function moveOn(): Promise<void> {
  for (const claim of await list(kube.VOLUME_CLAIMS)) await bind(claim)
  for (const pod of await list(kube.PODS)) await runPod(pod)
  for (const instance of await list(WATCHED.MTAInstance)) await report(instance)
}

async function bind(claim: kube.AnyObject): Promise<void> {
  if ((claim['spec'] as { volumeName?: string }).volumeName !== undefined) return
  await admin.patch(kube.VOLUME_CLAIMS, keyOf(claim), { spec: { volumeName: `pv-${claim.metadata.name}` } }, call)
  await admin.applyStatus(kube.VOLUME_CLAIMS, { metadata: keyOf(claim), status: { phase: 'Bound' } }, { owner: 'played' }, call)
}

const BINDINGS = kube.resource({ group: '', version: 'v1', kind: 'Binding', plural: 'bindings', namespaced: true })

async function runPod(pod: kube.AnyObject): Promise<void> {
  if (pod.metadata.deletionTimestamp !== undefined) {
    await admin.delete(kube.PODS, keyOf(pod), { gracePeriodSeconds: 0 }, call)
  } else if ((pod['spec'] as { nodeName?: string }).nodeName === undefined) {
    await admin.create(BINDINGS, { metadata: keyOf(pod), target: { kind: 'Node', name: 'node1' } }, call)
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
}

async function report(instance: MTAInstance & kube.KubeObject): Promise<void> {
  const { generation = 1 } = instance.metadata
  const { mode, addresses } = instance.spec
  const pods = await list(kube.PODS)
  if (!pods.some(({ metadata }) => metadata.name === instance.metadata.name)) return
  const says = (type: string, holds: boolean) => condition(type, holds ? 'True' : 'False', generation)
  const conditions = [
    says('Accepting', mode === 'Run'),
    says('Delivering', mode !== 'Hold'),
    says('AddressesPresent', true),
    says('StorageAvailable', true),
    says('CredentialsLoaded', true),
    says('Drained', mode === 'Drain' && messages === 0),
  ]
  const queue = { messages, recipients: messages, deferred: 0 }
  const agent = { observedGeneration: generation, addresses: addresses.map(({ address }) => address), queue }
  await admin.applyStatus(
    WATCHED.MTAInstance,
    { metadata: keyOf(instance), status: { conditions, agent } },
    { owner: FIELD_OWNERS.agent },
    call,
  )
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
    async () => JSON.stringify([await facts(), (await list(WATCHED.SendingStream)).map(({ status }) => status)]),
  )

const streamNow = () => admin.find(WATCHED.SendingStream, { namespace: MAIL, name: 'bulk' }, call)
const facts = async () =>
  (await list(WATCHED.MTAInstance)).map(
    ({ metadata, spec }) => `${metadata.name} ${spec.mode} ${spec.addresses.map(({ address }) => address).join(',')}`,
  )
const seeFacts = (what: string, want: readonly string[]) =>
  see(what, async () => (JSON.stringify(await facts()) === JSON.stringify(want) ? true : undefined))
/** As kubectl wait asks. */
const seeReady = () =>
  see('the stream to be Ready', async () => {
    const now = await streamNow()
    const ready = findCondition(now?.status?.conditions, 'Ready')
    const isCurrent = ready?.observedGeneration === now?.metadata.generation
    return ready?.status === 'True' && isCurrent && findCondition(now?.status?.conditions, 'Reconciling')?.status === 'False'
      ? ready.reason
      : undefined
  })
const patchStream = (spec: object) => admin.patch(WATCHED.SendingStream, { namespace: MAIL, name: 'bulk' }, { spec }, call)

test('comes up and is Ready', async () => {
  const addresses = [nodeAddress(1, 1), nodeAddress(1, 2)]
  await admin.create(WATCHED.IPPool, inMail<IPPool>(pool('bulk', { addresses })), call)
  await admin.create(WATCHED.SendingStream, inMail<SendingStream>(stream('bulk', { stopPolicy: 'None' })), call)
  expect(await seeReady()).toBe('Serving')
  expect(await facts()).toEqual(['bulk-0-a Run 192.0.2.11,192.0.2.12'])
})

test('loses its addresses when the pool has none on its node, and takes them up again', async () => {
  const setAddresses = async (nodeName: string) => {
    const addresses = [1, 2].map((k) => ({ ...nodeAddress(1, k), nodeName }))
    await admin.patch(WATCHED.IPPool, { namespace: MAIL, name: 'bulk' }, { spec: { addresses } }, call)
  }
  await setAddresses('node2')
  await seeFacts('the addresses to be gone', ['bulk-0-a Run '])
  await setAddresses('node1')
  await seeFacts('the addresses to be back', ['bulk-0-a Run 192.0.2.11,192.0.2.12'])
  expect(await seeReady()).toBe('Serving')
})

test('scales up: the second shard gets its share from the first', async () => {
  await patchStream({ primaries: 2 })
  await seeFacts('both shards to have their share', ['bulk-0-a Run 192.0.2.11', 'bulk-1-a Run 192.0.2.12'])
  expect(await seeReady()).toBe('Serving')
})

test('scales down: the second shard goes when its mail is gone, and its volume stays', async () => {
  messages = 5
  await seeReady()
  await patchStream({ primaries: 1 })
  await seeFacts('the second shard to drain', ['bulk-0-a Run 192.0.2.11', 'bulk-1-a Drain 192.0.2.12'])
  messages = 0
  await seeFacts('it to be gone', ['bulk-0-a Run 192.0.2.11,192.0.2.12'])
  expect((await list(kube.PODS)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-a'])
  expect((await list(kube.VOLUME_CLAIMS)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-a-queue', 'bulk-1-a-queue'])
})

test('another image is another Pod; other limits are not', async () => {
  const uid = async () => (await admin.find(kube.PODS, { namespace: MAIL, name: 'bulk-0-a' }, call))?.metadata.uid
  const before = await uid()
  await patchStream({ delivery: { maxConnectionsPerDestination: 3 } })
  await seeReady()
  expect(await uid()).toBe(before)
  await patchStream({ agent: { image: 'mtafleet:2' } })
  await see('another Pod', async () => ([undefined, before].includes(await uid()) ? undefined : true))
  expect(await seeReady()).toBe('Serving')
})

test('an instance deleted by hand is made again and takes its volume up', async () => {
  const uid = async () => (await list(WATCHED.MTAInstance))[0]?.metadata.uid
  const before = await uid()
  await admin.delete(WATCHED.MTAInstance as kube.Resource, { namespace: MAIL, name: 'bulk-0-a' }, {}, call)
  await see('another instance', async () => ([undefined, before].includes(await uid()) ? undefined : true))
  expect(await seeReady()).toBe('Serving')
  expect((await list(kube.VOLUME_CLAIMS)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-a-queue', 'bulk-1-a-queue'])
})

test('a foreground deletion with HoldAndDrain ends when the queue is empty', async () => {
  messages = 3
  await seeReady()
  await patchStream({ stopPolicy: 'HoldAndDrain' })
  await admin.delete(WATCHED.SendingStream as kube.Resource, { namespace: MAIL, name: 'bulk' }, { propagation: 'Foreground' }, call)
  await see('it to drain', async () =>
    findCondition((await streamNow())?.status?.conditions, 'Ready')?.reason === 'Deleting' ? true : undefined,
  )
  expect(await facts()).toEqual(['bulk-0-a Drain 192.0.2.11,192.0.2.12'])
  messages = 0
  await seeFacts('the instance to be gone', [])
  // The garbage collector, which this server has none of, takes its own finalizer away.
  const finalizers = await see('our finalizer to be gone', async () => {
    const left = (await streamNow())?.metadata.finalizers
    return left?.includes('mtafleet.io/drain') === true ? undefined : (left ?? [])
  })
  expect(finalizers).toEqual(['foregroundDeletion'])
  expect((await list(kube.PODS)).map(({ metadata }) => metadata.name)).toEqual([])
  expect(await list(kube.VOLUME_CLAIMS)).toHaveLength(2)
})
