import { expect, test } from 'vitest'
import { LABELS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { fleet, managedPool, node, pool, stream } from '#test/builders/fleet.ts'
import { type Ours, planSecretWakes, planWakes, type Wake } from './watches.ts'

const POOLS = [pool('one', { node1: ['192.0.2.1'] }), pool('two', { node2: ['192.0.2.2'] }), pool('clash', { node2: ['192.0.2.1'] })]
const STREAMS = [stream('a', { pool: 'one' }), stream('b', { pool: 'two' })]

const instance = (name: string, of: string, address: string, nodeName: string): MTAInstance =>
  ({
    apiVersion: 'mtafleet.io/v1alpha1',
    kind: 'MTAInstance',
    metadata: { name, namespace: 'mail', uid: name, generation: 1 },
    spec: {
      streamRef: { name: of },
      nodeName,
      addresses: [{ address, hostName: 'mta.example' }],
      submission: { tlsSecretRef: { name: `tls-${of}` } },
      queue: { storageClassName: 'local-ssd' },
    },
  }) as unknown as MTAInstance

const INSTANCES = [instance('a-0-a', 'a', '192.0.2.1', 'node1'), instance('b-0-a', 'b', '192.0.2.2', 'node2')]
const OURS: Ours = fleet({ pools: POOLS, streams: STREAMS, instances: INSTANCES })

const words = (wakes: readonly Wake[]) => wakes.map(({ kind, key }) => `${kind} ${key.name}`).toSorted()
const [poolOne] = POOLS
const [streamA] = STREAMS
const [instanceA] = INSTANCES

test('a new pool wakes itself, the streams that use it and the pools that share an address with it', () => {
  expect(words(planWakes('IPPool', { before: undefined, after: poolOne }, OURS))).toEqual(['IPPool clash', 'IPPool one', 'SendingStream a'])
})

test('a changed stream wakes its pool, its instances and who else wants the pool; its status alone wakes nobody else', () => {
  const changed = { ...streamA!, metadata: { ...streamA!.metadata, generation: 2 } }
  const reported = { ...streamA!, status: { replicas: 1 } }
  expect([
    words(planWakes('SendingStream', { before: streamA, after: changed }, OURS)),
    words(planWakes('SendingStream', { before: streamA, after: reported }, OURS)),
  ]).toEqual([['IPPool one', 'MTAInstance a-0-a', 'SendingStream a'], ['SendingStream a']])
})

test('a stream that changes pools wakes both', () => {
  const moved = { ...streamA!, metadata: { ...streamA!.metadata, generation: 2 }, spec: { ...streamA!.spec, poolRef: { name: 'two' } } }
  expect(words(planWakes('SendingStream', { before: streamA, after: moved }, OURS))).toEqual([
    'IPPool one',
    'IPPool two',
    'MTAInstance a-0-a',
    'SendingStream a',
    'SendingStream b',
  ])
})

test('an instance that goes wakes its stream, the pools of its addresses and every stream that waits', () => {
  expect(words(planWakes('MTAInstance', { before: instanceA, after: undefined }, OURS))).toEqual([
    'IPPool clash',
    'IPPool one',
    'MTAInstance a-0-a',
    'SendingStream a',
    'SendingStream b',
  ])
})

test('what an agent counts wakes its instance and stream alone', () => {
  const counted = { ...instanceA!, status: { agent: { queue: { messages: 1, recipients: 1, deferred: 0 } } } }
  expect(words(planWakes('MTAInstance', { before: instanceA, after: counted }, OURS))).toEqual(['MTAInstance a-0-a', 'SendingStream a'])
})

test('a child wakes its owner and whom its labels name, so a volume claim without owner too', () => {
  const owner = { apiVersion: 'mtafleet.io/v1alpha1', kind: 'MTAInstance', name: 'a-0-a', uid: 'u' }
  const foreign = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'x', uid: 'u' }
  const metadata = { name: 'x', namespace: 'mail' }
  const labels = { [LABELS.stream]: 'a', [LABELS.instance]: 'a-0-a' }
  const wakes = (after: { readonly metadata: object }) => words(planWakes('Pod', { before: undefined, after: after as never }, OURS))
  expect([
    wakes({ metadata: { ...metadata, ownerReferences: [owner, foreign] } }),
    wakes({ metadata: { ...metadata, labels } }),
    wakes({ metadata }),
  ]).toEqual([['MTAInstance a-0-a'], ['MTAInstance a-0-a', 'SendingStream a'], []])
})

test('a Pod that becomes ready wakes every instance of its stream, for the next in a rollout waits for it; other news of it only its own', () => {
  const second = instance('a-1-a', 'a', '192.0.2.3', 'node1')
  const ours: Ours = { ...OURS, instances: [...INSTANCES, second] }
  const pod = (ready: 'True' | 'False', phase = 'Running') => ({
    metadata: { name: 'a-0-a', namespace: 'mail', uid: 'p', labels: { [LABELS.stream]: 'a', [LABELS.instance]: 'a-0-a' } },
    status: { phase, conditions: [{ type: 'Ready', status: ready }] },
  })
  expect([
    words(planWakes('Pod', { before: pod('False'), after: pod('True') }, ours)),
    words(planWakes('Pod', { before: pod('True'), after: undefined }, ours)),
    words(planWakes('Pod', { before: pod('False', 'Pending'), after: pod('False') }, ours)),
  ]).toEqual([
    ['MTAInstance a-0-a', 'MTAInstance a-1-a', 'SendingStream a'],
    ['MTAInstance a-0-a', 'MTAInstance a-1-a', 'SendingStream a'],
    ['MTAInstance a-0-a', 'SendingStream a'],
  ])
})

test('a node wakes who has addresses on it, but its heartbeats wake nobody', () => {
  const before = node('node1')
  const beat = structuredClone(before) as typeof before
  const heartbeat = {
    ...beat,
    status: {
      ...beat.status,
      conditions: (beat.status?.conditions ?? []).map((condition) => ({ ...condition, lastHeartbeatTime: 'now' })),
    },
  }
  expect([
    words(planWakes('Node', { before, after: node('node1', { cordoned: true }) }, OURS)),
    words(planWakes('Node', { before, after: heartbeat }, OURS)),
  ]).toEqual([['IPPool one', 'MTAInstance a-0-a', 'SendingStream a'], []])
})

test('a volume wakes the instances that wait for one of its class', () => {
  const volume = { metadata: { name: 'pv' }, spec: { storageClassName: 'local-ssd' } }
  const other = { metadata: { name: 'pv' }, spec: { storageClassName: 'other' } }
  const bound = {
    ...INSTANCES[1]!,
    status: { conditions: [{ type: 'VolumeBound', status: 'True', reason: 'Bound', message: '', lastTransitionTime: '' }] },
  }
  const ours: Ours = { ...OURS, instances: [INSTANCES[0]!, bound as MTAInstance] }
  expect([volume, other].map((after) => words(planWakes('PersistentVolume', { before: undefined, after }, ours)))).toEqual([
    ['MTAInstance a-0-a'],
    [],
  ])
})

test('a Secret wakes who names it, in its namespace', () => {
  expect([
    words(planSecretWakes({ namespace: 'mail', name: 'tls-a' }, OURS)),
    words(planSecretWakes({ namespace: 'elsewhere', name: 'tls-a' }, OURS)),
    words(planSecretWakes({ namespace: 'mail', name: 'submission-users' }, OURS)),
  ]).toEqual([['MTAInstance a-0-a'], [], ['SendingStream a', 'SendingStream b']])
})

test('any node may be one for managed addresses, and who has one on its node now is shown in the pool', () => {
  const managed = { ...OURS, pools: [managedPool('two', ['192.0.2.2'])] }
  const [, instanceB] = INSTANCES
  const attached = { ...instanceB!, status: { agent: { attachedAddresses: ['192.0.2.2'] } } } as unknown as MTAInstance
  expect([
    words(planWakes('Node', { before: node('node9'), after: node('node9', { cordoned: true }) }, managed)),
    words(planWakes('MTAInstance', { before: instanceB, after: attached }, managed)).filter((word) => word.startsWith('IPPool')),
  ]).toEqual([['IPPool two', 'SendingStream b'], ['IPPool two']])
})
