import { expect, test } from 'vitest'
import { type ConditionType, findCondition } from '#crds/conditions.ts'
import { claim, condition, emptyFleet, fleet, named, node, pool, stream, surroundings, volume, withStatus } from '#test/builders/fleet.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import type { ContainerStatus, FleetSnapshot, KubeObject, Pod } from './snapshot.ts'

/** The failure table of operator/README.md: what goes wrong, and what `kubectl describe` says of it, on the instance and on the stream alike. */

const start = fleet({ ...surroundings('node1'), streams: [stream('mail')], pools: [pool('mail', { node1: ['192.0.2.11'] })] })
const well = settle(start)

const withPod = (change: (pod: Pod) => Pod, from: FleetSnapshot = well): FleetSnapshot => ({ ...from, pods: from.pods.map(change) })
const withContainer = (container: Partial<ContainerStatus>): FleetSnapshot =>
  withPod((pod) => ({
    ...pod,
    status: {
      phase: 'Running',
      conditions: [
        { type: 'PodScheduled', status: 'True' },
        { type: 'Ready', status: 'False', message: 'containers with unready status: [agent]' },
      ],
      containerStatuses: [{ name: 'agent', ready: false, restartCount: 0, ...container }],
    },
  }))
const agentSays = (type: string, reason: string): FleetSnapshot =>
  withStatus(well, 'mail-0-a', ({ status, metadata }) => ({
    ...status,
    conditions: (status?.conditions ?? []).map((one) => (one.type === type ? condition(type, 'False', metadata.generation, reason) : one)),
  }))
const waiting = (parts: Partial<FleetSnapshot>): FleetSnapshot => ({ ...start, ...parts })
const crashed = (message: string, restartCount: number): FleetSnapshot =>
  withContainer({
    restartCount,
    state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s restarting failed container' } },
    lastState: { terminated: { exitCode: 1, reason: 'Error', message } },
  })

const notScheduled = (message: string) => ({ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }) as const

type Want = { readonly type: ConditionType; readonly says: string; readonly message: string; readonly stalled: 'True' | 'False' }

const FAILURES: Record<string, readonly [FleetSnapshot, Want]> = {
  'image missing': [
    withContainer({ state: { waiting: { reason: 'ErrImagePull', message: 'failed to pull "mtafleet:1": not found' } } }),
    { type: 'PodRunning', says: 'False ImageNotFound', message: 'ErrImagePull: failed to pull "mtafleet:1": not found', stalled: 'True' },
  ],
  'StorageClass missing': [
    waiting({ storageClasses: [], claims: [claim('mail-0-a', 'mail', undefined)] }),
    {
      type: 'VolumeBound',
      says: 'False StorageClassNotFound',
      message: "StorageClass 'local-ssd' of volume claim 'mail-0-a-queue' must exist",
      stalled: 'True',
    },
  ],
  'no volume left on the node': [
    waiting({ volumes: [volume('other', 'node2'), volume('taken', 'node1', 'Bound')], claims: [claim('mail-0-a', 'mail', undefined)] }),
    {
      type: 'VolumeBound',
      says: 'False NoVolumeLeft',
      message: "volume claim 'mail-0-a-queue' finds no free volume of StorageClass 'local-ssd' on node 'node1': add one there",
      stalled: 'True',
    },
  ],
  'every free volume on the node is too small': [
    waiting({
      volumes: [volume('small', 'node1'), volume('other', 'node2')],
      claims: [
        { ...claim('mail-0-a', 'mail', undefined), spec: { storageClassName: 'local-ssd', resources: { requests: { storage: '2Gi' } } } },
      ],
    }),
    {
      type: 'VolumeBound',
      says: 'False NoVolumeLeft',
      message:
        "volume claim 'mail-0-a-queue' must have 2Gi, but the largest free volume of StorageClass 'local-ssd' on node 'node1' has 1Gi: add a larger one there",
      stalled: 'True',
    },
  ],
  'volume lost': [
    { ...well, claims: well.claims.map((one) => ({ ...one, status: { phase: 'Lost' } })) },
    {
      type: 'VolumeBound',
      says: 'False VolumeLost',
      message: "volume 'node1-0' of claim 'mail-0-a-queue' does not exist any more, and the mail on it with it",
      stalled: 'True',
    },
  ],
  "a claim of that name is somebody else's": [
    waiting({ claims: [{ ...claim('mail-0-a', 'mail', 'node1-0'), metadata: { name: 'mail-0-a-queue', namespace: 'mail' } }] }),
    {
      type: 'VolumeBound',
      says: 'False ForeignObject',
      message:
        "volume claim 'mail-0-a-queue' exists, but was not made for this instance (labels mtafleet.io/stream and mtafleet.io/instance): delete or rename it",
      stalled: 'True',
    },
  ],
  'address not on the node': [
    agentSays('AddressesPresent', 'AddressesMissing'),
    { type: 'Ready', says: 'False AddressesMissing', message: 'AddressesPresent is False', stalled: 'True' },
  ],
  'certificate does not fit its key': [
    agentSays('CredentialsLoaded', 'CertificateInvalid'),
    { type: 'Ready', says: 'False CertificateInvalid', message: 'CredentialsLoaded is False', stalled: 'True' },
  ],
  'disk full': [
    agentSays('StorageAvailable', 'VolumeFull'),
    { type: 'Ready', says: 'False VolumeFull', message: 'StorageAvailable is False', stalled: 'False' },
  ],
  'Secret missing': [
    waiting({ secrets: start.secrets.slice(0, 1) }),
    {
      type: 'SecretsFound',
      says: 'False SecretNotFound',
      message: "Secret 'submission-users' (authSecretRef) must exist",
      stalled: 'True',
    },
  ],
  'Secret without its key': [
    waiting({ secrets: [{ ...start.secrets[0]!, keys: ['cert.pem', 'tls.key'] }, start.secrets[1]!] }),
    {
      type: 'SecretsFound',
      says: 'False SecretKeyMissing',
      message: "Secret 'submission-tls' (tlsSecretRef) must have the keys tls.crt and tls.key, had cert.pem, tls.key",
      stalled: 'True',
    },
  ],
  'port taken': [
    crashed('port must be free, is taken: 0.0.0.0:20000 (EADDRINUSE)', 1),
    {
      type: 'PodRunning',
      says: 'False PortTaken',
      message: 'the agent ended with exit code 1 (Error), restarted once: port must be free, is taken: 0.0.0.0:20000 (EADDRINUSE)',
      stalled: 'True',
    },
  ],
  "volume of another stream's queue": [
    crashed('ForeignVolume: the volume must be of stream mail/mail shard 0, was of stream mail/other shard 0; it was left alone', 1),
    {
      type: 'PodRunning',
      says: 'False ForeignVolume',
      message:
        'the agent ended with exit code 1 (Error), restarted once: ForeignVolume: the volume must be of stream mail/mail shard 0, was of stream mail/other shard 0; it was left alone',
      stalled: 'True',
    },
  ],
  'volume damaged': [
    crashed('CorruptRecord: meta identity: must be of checksum f9245c8c, was 331aaf1f', 1),
    {
      type: 'PodRunning',
      says: 'False VolumeDamaged',
      message:
        'the agent ended with exit code 1 (Error), restarted once: CorruptRecord: meta identity: must be of checksum f9245c8c, was 331aaf1f',
      stalled: 'True',
    },
  ],
  'volume damaged below what has a checksum': [
    crashed('Error: MDB_PAGE_NOTFOUND: Requested page not found', 1),
    {
      type: 'PodRunning',
      says: 'False VolumeDamaged',
      message: 'the agent ended with exit code 1 (Error), restarted once: Error: MDB_PAGE_NOTFOUND: Requested page not found',
      stalled: 'True',
    },
  ],
  'crashed once': [
    crashed('TypeError: x', 1),
    {
      type: 'PodRunning',
      says: 'False AgentCrashed',
      message: 'the agent ended with exit code 1 (Error), restarted once: TypeError: x',
      stalled: 'False',
    },
  ],
  'crashes again and again': [
    crashed('TypeError: x', 5),
    {
      type: 'PodRunning',
      says: 'False AgentCrashed',
      message: 'the agent ended with exit code 1 (Error), restarted 5 times: TypeError: x',
      stalled: 'True',
    },
  ],
  'out of memory': [
    withContainer({ restartCount: 3, state: { terminated: { exitCode: 137, reason: 'OOMKilled' } } }),
    {
      type: 'PodRunning',
      says: 'False OutOfMemory',
      message: 'the agent ended with signal 9 (OOMKilled), restarted 3 times',
      stalled: 'True',
    },
  ],
  unschedulable: [
    withPod(({ metadata }) => ({
      metadata,
      spec: {},
      status: {
        phase: 'Pending',
        conditions: [notScheduled('0/3 nodes are available: 1 Insufficient cpu.')],
      },
    })),
    { type: 'PodScheduled', says: 'False Unschedulable', message: '0/3 nodes are available: 1 Insufficient cpu.', stalled: 'True' },
  ],
  'unschedulable, for the node is cordoned': [
    withPod(
      ({ metadata }) => ({
        metadata,
        spec: {},
        status: { phase: 'Pending', conditions: [notScheduled('0/1 nodes are available: 1 node(s) were unschedulable.')] },
      }),
      { ...well, nodes: [node('node1', { cordoned: true })] },
    ),
    {
      type: 'PodScheduled',
      says: 'False Unschedulable',
      message: "node 'node1' is cordoned; the scheduler says: 0/1 nodes are available: 1 node(s) were unschedulable.",
      stalled: 'True',
    },
  ],
  'node unreachable': [
    { ...well, nodes: [node('node1', { ready: 'Unknown' })] },
    {
      type: 'Ready',
      says: 'Unknown NodeUnreachable',
      message: "node 'node1' is not ready: Kubelet stopped posting node status.",
      stalled: 'False',
    },
  ],
  'node not ready': [
    { ...well, nodes: [node('node1', { ready: 'False' })] },
    {
      type: 'PodRunning',
      says: 'Unknown NodeNotReady',
      message: "node 'node1' is not ready: Kubelet stopped posting node status.",
      stalled: 'False',
    },
  ],
  'node gone': [
    { ...well, nodes: [] },
    { type: 'Ready', says: 'Unknown NodeNotFound', message: "node 'node1' does not exist any more", stalled: 'True' },
  ],
  'readiness probe fails': [
    withContainer({ state: { running: {} } }),
    { type: 'Ready', says: 'False PodNotReady', message: 'containers with unready status: [agent]', stalled: 'False' },
  ],
}

/** As far as the operator alone can come; the world stands still. */
const look = (snapshot: FleetSnapshot): FleetSnapshot => settle(snapshot, (same) => same)

test.each(Object.entries(FAILURES))('%s', (_, [snapshot, { type, says, message, stalled }]) => {
  const seen = look(snapshot)
  const instance = named(seen.instances, 'mail-0-a')
  const found = findCondition(instance.status?.conditions, type)
  expect(`${found?.status} ${found?.reason}`).toBe(says)
  expect(found?.message).toBe(message)
  expect(findCondition(instance.status?.conditions, 'Stalled')?.status).toBe(stalled)

  const ready = findCondition(instance.status?.conditions, 'Ready')
  const above = findCondition(named(seen.streams, 'mail').status?.conditions, 'InstancesReady')
  expect([above?.reason, above?.message]).toEqual([ready?.reason, `0 of 1 ready; mail-0-a: ${ready?.message}`])
  expect(findCondition(named(seen.streams, 'mail').status?.conditions, 'Stalled')?.status).toBe(stalled)
})

const streamSays = (snapshot: FleetSnapshot, name: string, type: ConditionType = 'Ready') => {
  const found = findCondition(named(look(snapshot).streams, name).status?.conditions, type)
  return `${found?.status} ${found?.reason}: ${found?.message}`
}

test('pool missing: nothing new is assigned, and what runs goes on', () => {
  const gone: FleetSnapshot = { ...well, pools: [] }
  expect(streamSays(gone, 'mail', 'PoolAccepted')).toBe("False PoolNotFound: IPPool 'mail' must exist in namespace 'mail'")
  expect(look(gone).instances.map(({ spec }) => spec)).toEqual(well.instances.map(({ spec }) => spec))
  expect(planOnce(look(gone)).writes).toBe(0)
})

test('class not allowed: the addresses leave', () => {
  const narrowed: FleetSnapshot = {
    ...well,
    pools: [{ ...well.pools[0]!, spec: { ...well.pools[0]!.spec, allowedClasses: ['Marketing'] } }],
  }
  expect(streamSays(narrowed, 'mail')).toBe(
    "False ClassNotAllowed: allowedClasses of IPPool 'mail' must include Transactional, were Marketing",
  )
  expect(look(narrowed).instances.map(({ spec }) => spec.addresses)).toEqual([[]])
})

test('a second stream of a pool is refused by name; the older one keeps it', () => {
  const two: FleetSnapshot = { ...well, streams: [...well.streams, stream('later', { pool: 'mail', createdAt: '2026-02-01T00:00:00Z' })] }
  expect(streamSays(two, 'later')).toBe(
    "False PoolInUse: IPPool 'mail' serves SendingStream 'mail', which is older; a pool serves one stream",
  )
  expect(streamSays(two, 'mail')).toBe('True Serving: 1 of 1 instances accept and deliver')
})

test('more shards than addresses: the one too many says so', () => {
  const asked: FleetSnapshot = { ...well, streams: [{ ...well.streams[0]!, spec: { ...well.streams[0]!.spec, primaries: 2 } }] }
  expect(streamSays(asked, 'mail')).toBe(
    "False PoolExhausted: 1 of 2 ready; mail-1-a: no node of the pool has an address left for it: 'node1' has 1 and 1 in use",
  )
})

test('no node fits: each says why', () => {
  const picky = stream('mail')
  const asked = fleet({
    ...surroundings('node1'),
    nodes: [node('node1', { cordoned: true }), node('node2', { taints: [{ key: 'only', effect: 'NoSchedule' }] }), node('node3')],
    streams: [{ ...picky, spec: { ...picky.spec, placement: { nodeSelector: { disk: 'ssd' }, tolerations: [] } } }],
    pools: [pool('mail', { node1: ['192.0.2.11'], node2: ['192.0.2.21'], node3: ['192.0.2.31'], node4: ['192.0.2.41'] })],
  })
  expect(streamSays(asked, 'mail', 'InstancesReady')).toBe(
    "False NoNodeFits: 0 of 1 ready; mail-0-a: no node of the pool has an address left for it: 'node1' is cordoned; " +
      "'node2' lacks the label disk=ssd; 'node3' lacks the label disk=ssd; 'node4' does not exist",
  )
})

test('no ports left', () => {
  const narrow: FleetSnapshot = { ...start, settings: { ...start.settings, ports: { first: 20000, last: 20001 } } }
  expect(streamSays(narrow, 'mail')).toBe(
    'False PortsExhausted: 0 of 1 ready; the port range 20000 to 20001 of the operator has too few free ports left for mail-0-a',
  )
})

test("an account of that name is somebody else's: nothing is taken over, and no instance is made with its rights", () => {
  const owned: KubeObject = {
    metadata: {
      name: 'mail-agent',
      namespace: 'mail',
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'u', controller: true }],
    },
  }
  const seen = look({ ...start, serviceAccounts: [owned] })
  expect(streamSays(seen, 'mail')).toBe(
    "False ForeignObject: ServiceAccount 'mail-agent' must belong to this stream, but is controlled by Deployment 'web' (uid u): delete or rename it",
  )
  expect([seen.serviceAccounts, seen.instances]).toEqual([[owned], []])
})

test('an address in two pools, across namespaces: both say Conflict; who has it keeps it, and nobody else gets it', () => {
  const rival = pool('rival', { node1: ['192.0.2.11'] }, { namespace: 'other' })
  const seen = look({
    ...well,
    pools: [...well.pools, rival],
    streams: [...well.streams, stream('late', { namespace: 'other', pool: 'rival' })],
  })
  expect(seen.pools.map(({ status }) => [status?.addresses, findCondition(status?.conditions, 'Ready')?.message])).toEqual([
    [
      [{ address: '192.0.2.11', state: 'Conflict', instance: 'mail-0-a' }],
      "an address must be in one pool only, but others name 192.0.2.11 (IPPool 'other/rival')",
    ],
    [
      [{ address: '192.0.2.11', state: 'Conflict' }],
      "an address must be in one pool only, but others name 192.0.2.11 (IPPool 'mail/mail')",
    ],
  ])
  expect(seen.instances.map(({ metadata, spec }) => [metadata.name, spec.addresses.length])).toEqual([
    ['mail-0-a', 1],
    ['late-0-a', 0],
  ])
})

test('the node of an address does not exist: the pool says so', () => {
  const seen = look(fleet({ pools: [pool('mail', { node9: ['192.0.2.91'] })] }))
  expect(findCondition(named(seen.pools, 'mail').status?.conditions, 'Ready')?.message).toBe(
    "the node of an address must exist, but there is no node 'node9' of 192.0.2.91",
  )
})

test('what is seen first is not False, but Unknown', () => {
  const { fleet: seen } = planOnce({ ...emptyFleet, streams: [stream('mail')] })
  expect(findCondition(named(seen.streams, 'mail').status?.conditions, 'Ready')?.status).toBe('Unknown')
})
