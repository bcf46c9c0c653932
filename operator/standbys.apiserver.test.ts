import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatRecord, parseRecord } from '#agent/contract/record.ts'
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
 * A stream with a standby against a real API server: records, endpoints, certificates and what is asked of agents, with the server's own defaults, schemas
 * and preconditions. Kubelets and agents are played by this test. The tests follow one another.
 */

const MAIL = 'mail'
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 30_000, everyMillis: 100 }
const RECORD = { namespace: MAIL, name: 'bulk-0' }

let operator: RunningOperator
let admin: Client

beforeAll(async () => {
  operator = await openRunningOperator({ namespace: MAIL, nodes: 2 })
  admin = operator.admin
})
afterAll(async () => {
  await operator[Symbol.asyncDispose]()
})

/** One step of everything that is not the operator. */
async function moveOn(): Promise<void> {
  await operator.playNodes()
  const pods = (await operator.list(kube.PODS)).map(({ metadata }) => metadata.name)
  for (const instance of await operator.list(WATCHED.MTAInstance)) if (pods.includes(instance.metadata.name)) await report(instance)
  await keepRecord(pods)
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
  const status = { metadata: kube.keyOf(instance), status: { conditions, agent } }
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
        [...(await operator.list(WATCHED.SendingStream)), ...(await operator.list(WATCHED.MTAInstance))].map(({ metadata, status }) => [
          metadata.name,
          status,
        ]),
      ),
  )
const streamNow = () => operator.find(WATCHED.SendingStream, 'bulk')
const says = async (type: Parameters<typeof findCondition>[1]) => {
  const found = findCondition((await streamNow())?.status?.conditions, type)
  return found === undefined ? undefined : `${found.status} ${found.reason}`
}
const patchStream = (spec: object) => admin.patch(WATCHED.SendingStream, { namespace: MAIL, name: 'bulk' }, { spec }, call)

test('a pair comes up, with its record, its endpoints and certificates that fit', async () => {
  await admin.create(WATCHED.IPPool, operator.here<IPPool>(pool('bulk', { addresses: [nodeAddress(1, 1), nodeAddress(2, 1)] })), call)
  await admin.create(
    WATCHED.SendingStream,
    operator.here<SendingStream>(stream('bulk', { standbysPerPrimary: 1, failover: { timing: 'Fast' } })),
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
  expect((await operator.find(WATCHED.MTAInstance, 'bulk-0-a'))?.spec.replication).toMatchObject({
    timing: 'Fast',
    peers: [{ instance: 'bulk-0-b', address: '203.0.113.12' }],
  })
  const slice = await operator.find(kube.ENDPOINT_SLICES, 'bulk-0')
  expect([slice?.['addressType'], slice?.metadata.labels?.['kubernetes.io/service-name']]).toEqual(['IPv4', 'bulk-submission'])
  const [own, other] = await Promise.all(['bulk-0-a', 'bulk-0-b'].map((name) => certificateOf(name)))
  expect(own?.subjectAltName).toBe('DNS:bulk-0-a.bulk.mail.mtafleet')
  expect(own?.issuer).toBe(other?.issuer)
})

async function certificateOf(instance: string): Promise<X509Certificate> {
  const data = (await operator.find(kube.SECRETS, `${instance}-replication`))?.['data'] as Record<string, string>
  return new X509Certificate(Buffer.from(data['tls.crt'] ?? '', 'base64'))
}

test('a node that is cordoned has its primary asked to hand over, and the shard shows who leads then', async () => {
  await admin.patch(kube.NODES, { name: 'node1' }, { spec: { unschedulable: true } }, call)
  await see(
    'the request',
    async () => (await operator.find(WATCHED.MTAInstance, 'bulk-0-a'))?.metadata.annotations?.['mtafleet.io/switchover'],
  )
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
  await see('the standby to be gone', async () => ((await operator.list(WATCHED.MTAInstance)).length === 1 ? true : undefined))
  expect((await operator.list(WATCHED.MTAInstance)).map(({ metadata }) => metadata.name)).toEqual(['bulk-0-b'])
  expect(parseRecord(await admin.get(kube.LEASES, RECORD, call)).inSync.map(({ instance }) => instance)).toEqual(['bulk-0-b'])
})

test('the record stays with the volumes when the stream goes, and holds up nothing', async () => {
  await admin.delete(WATCHED.SendingStream as kube.Resource, { namespace: MAIL, name: 'bulk' }, {}, call)
  await see('the stream to be gone', async () => ((await streamNow()) === undefined ? true : undefined))
  const lease = await admin.get(kube.LEASES, RECORD, call)
  expect([lease.metadata.finalizers, parseRecord(lease).epoch]).toEqual([undefined, 2])
})
