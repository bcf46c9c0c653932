import { afterAll, beforeAll, expect, test } from 'vitest'
import { findCondition } from '#crds/conditions.ts'
import { FIELD_OWNERS } from '#crds/group.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Client } from '#kube/client.ts'
import * as kube from '#kube/resources.ts'
import { condition } from '#test/builders/fleet.ts'
import { nodeAddress, pool, stream } from '#test/builders/manifests.ts'
import { openRunningOperator, type RunningOperator } from '#test/cluster/running-operator.ts'
import { watchFor } from '#test/support/wait.ts'
import { WATCHED } from './fleet.ts'

/**
 * The life of a stream against a real API server: its generations, finalizers, server-side apply and preconditions. Kubelet, volume controller and agents are
 * played by this test, which moves them on at every look. The tests follow one another.
 */

const MAIL = 'mail'
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 30_000, everyMillis: 100 }

let operator: RunningOperator
let admin: Client
/** Messages in every queue, as the agents count them. */
let messages = 0

beforeAll(async () => {
  operator = await openRunningOperator({ namespace: MAIL, nodes: 1 })
  admin = operator.admin
})
afterAll(async () => {
  await operator[Symbol.asyncDispose]()
})

/** One step of everything that is not the operator. */
async function moveOn(): Promise<void> {
  await operator.playNodes()
  for (const instance of await operator.list(WATCHED.MTAInstance)) await report(instance)
}

async function report(instance: MTAInstance & kube.KubeObject): Promise<void> {
  const { generation = 1 } = instance.metadata
  const { mode, addresses } = instance.spec
  const pods = await operator.list(kube.PODS)
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
    { metadata: kube.keyOf(instance), status: { conditions, agent } },
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
    async () => JSON.stringify([await facts(), (await operator.list(WATCHED.SendingStream)).map(({ status }) => status)]),
  )

const streamNow = () => operator.find(WATCHED.SendingStream, 'bulk')
const facts = async () =>
  (await operator.list(WATCHED.MTAInstance)).map(
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
  await admin.create(WATCHED.IPPool, operator.here<IPPool>(pool('bulk', { addresses })), call)
  await admin.create(WATCHED.SendingStream, operator.here<SendingStream>(stream('bulk', { stopPolicy: 'None' })), call)
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
  expect((await operator.list(kube.PODS)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-a'])
  expect((await operator.list(kube.VOLUME_CLAIMS)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-a-queue', 'bulk-1-a-queue'])
})

test('another image is another Pod; other limits are not', async () => {
  const uid = async () => (await operator.find(kube.PODS, 'bulk-0-a'))?.metadata.uid
  const before = await uid()
  await patchStream({ delivery: { maxConnectionsPerDestination: 3 } })
  await seeReady()
  expect(await uid()).toBe(before)
  await patchStream({ agent: { image: 'mtafleet:2' } })
  await see('another Pod', async () => ([undefined, before].includes(await uid()) ? undefined : true))
  expect(await seeReady()).toBe('Serving')
})

test('an instance deleted by hand is made again and takes its volume up', async () => {
  const uid = async () => (await operator.list(WATCHED.MTAInstance))[0]?.metadata.uid
  const before = await uid()
  await admin.delete(WATCHED.MTAInstance as kube.Resource, { namespace: MAIL, name: 'bulk-0-a' }, {}, call)
  await see('another instance', async () => ([undefined, before].includes(await uid()) ? undefined : true))
  expect(await seeReady()).toBe('Serving')
  expect((await operator.list(kube.VOLUME_CLAIMS)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-a-queue', 'bulk-1-a-queue'])
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
  expect((await operator.list(kube.PODS)).map(({ metadata }) => metadata.name)).toEqual([])
  expect(await operator.list(kube.VOLUME_CLAIMS)).toHaveLength(2)
})
