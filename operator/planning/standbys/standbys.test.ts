import { describe, expect, test } from 'vitest'
import { applyChanges, fleet, named, node, NOW, pool, stream, surroundings, withStatus } from '#test/builders/fleet.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import { copyOf, pairsFollow, recordOf, setRecord, withStandbys } from '#test/builders/standbys.ts'
import { planStream } from '../plan-stream.ts'
import type { FleetSnapshot } from '../snapshot.ts'
import { isAlive } from './shard.ts'

const NODES = ['node1', 'node2', 'node3'] as const
const ADDRESSES = { node1: ['192.0.2.11', '192.0.2.12'], node2: ['192.0.2.21', '192.0.2.22'], node3: ['192.0.2.31', '192.0.2.32'] }
const nodes = NODES.map((name, index) => node(name, { address: `203.0.113.1${index + 1}` }))
const start = (standbys: number, primaries = 1, nodeList = nodes): FleetSnapshot =>
  fleet({
    ...surroundings(...NODES),
    nodes: nodeList,
    streams: [withStandbys(stream('mail', { primaries }), standbys)],
    pools: [pool('mail', ADDRESSES)],
  })
const edit = (before: FleetSnapshot, change: (one: FleetSnapshot['streams'][number]) => FleetSnapshot['streams'][number]) => ({
  ...before,
  streams: before.streams.map(change),
})
const setStandbys = (before: FleetSnapshot, count: number) => edit(before, (one) => withStandbys(one, count))
const places = ({ instances }: FleetSnapshot) => Object.fromEntries(instances.map(({ metadata, spec }) => [metadata.name, spec.nodeName]))

describe('a stream with standbys', () => {
  const settled = settle(start(1, 2), pairsFollow)

  test('has its instances of a shard on different nodes, each with the addresses of its own', () => {
    expect(places(settled)).toEqual({ 'mail-0-a': 'node1', 'mail-0-b': 'node2', 'mail-1-a': 'node3', 'mail-1-b': 'node1' })
    const shared = settled.instances.flatMap(({ spec }) => spec.addresses.map(({ address }) => address))
    expect(new Set(shared).size).toBe(shared.length)
  })

  test('has a standby elsewhere whose claim and instance were deleted while its node is cordoned', () => {
    const pair = settle(start(1), pairsFollow)
    const left: FleetSnapshot = {
      ...pair,
      nodes: pair.nodes.map((one) => (one.metadata.name === 'node2' ? node('node2', { address: '203.0.113.12', cordoned: true }) : one)),
      instances: pair.instances.filter(({ metadata }) => metadata.name !== 'mail-0-b'),
      claims: pair.claims.filter(({ metadata }) => metadata.name !== 'mail-0-b-queue'),
      pods: pair.pods.filter(({ metadata }) => metadata.name !== 'mail-0-b'),
    }
    const again = settle(setRecord(left, 'mail-0', { inSync: [copyOf('mail-0-a')] }), pairsFollow)
    expect([places(again), recordOf(again, 'mail-0').inSync.map(({ instance }) => instance)]).toEqual([
      { 'mail-0-a': 'node1', 'mail-0-b': 'node3' },
      ['mail-0-a', 'mail-0-b'],
    ])
  })

  test('settles: planning again changes nothing', () => {
    expect(planOnce(pairsFollow(settled))).toEqual({ fleet: pairsFollow(settled), writes: 0, said: [] })
  })

  test('tells each instance where the other one is, and where record, endpoints and certificate are', () => {
    const [a, b] = [named(settled.instances, 'mail-0-a').spec, named(settled.instances, 'mail-0-b').spec]
    expect(a.replication).toEqual({
      recordName: 'mail-0',
      endpointSliceName: 'mail-0',
      timing: 'Default',
      durability: 'Available',
      peers: [{ instance: 'mail-0-b', address: '203.0.113.12', logPort: b.ports.log, beaconPort: b.ports.beacon }],
    })
    expect(b.replication?.peers).toEqual([
      { instance: 'mail-0-a', address: '203.0.113.11', logPort: a.ports.log, beaconPort: a.ports.beacon },
    ])
    expect(a.directories.replication).toBe('/etc/mtafleet/replication')
  })

  test('begins with its first instance as primary of epoch 1, as that has reported itself', () => {
    const first = settle(start(1), (one) => ({ ...pairsFollow(one), leases: one.leases }))
    expect(recordOf(first, 'mail-0')).toEqual({
      holder: { instance: 'mail-0-a', incarnation: 'mail-0-a-1' },
      epoch: 1,
      inSync: [copyOf('mail-0-a')],
      forcedEpoch: 0,
    })
    expect(named(first.leases, 'mail-0').metadata.finalizers).toEqual(['mtafleet.io/record'])
  })

  test('has a Service that finds no Pod by itself, and for each shard endpoints and a budget', () => {
    expect(named(settled.services, 'mail-submission')['spec']).toMatchObject({
      selector: { 'mtafleet.io/stream': 'mail', 'app.kubernetes.io/component': 'announced-by-the-primary' },
    })
    expect(
      settled.endpointSlices.map(({ metadata, ...rest }) => [metadata.name, metadata.labels, rest['addressType'], rest['endpoints']]),
    ).toEqual(
      ['mail-0', 'mail-1'].map((name, shard) => [
        name,
        expect.objectContaining({
          'kubernetes.io/service-name': 'mail-submission',
          'endpointslice.kubernetes.io/managed-by': 'mtafleet.io',
          'mtafleet.io/shard': String(shard),
        }),
        'IPv4',
        [],
      ]),
    )
    expect(settled.disruptionBudgets.map(({ metadata }) => metadata.name).toSorted()).toEqual(['mail-0-agent', 'mail-1-agent'])
  })

  test('lets its agents change their record and endpoints, and look at their claims', () => {
    const rules = named(settled.roles, 'mail-agent')['rules'] as readonly {
      readonly resources: readonly string[]
      readonly resourceNames: readonly string[]
      readonly verbs: readonly string[]
    }[]
    expect(rules.slice(2).map(({ resources, resourceNames, verbs }) => [resources, resourceNames, verbs])).toEqual([
      [['leases'], ['mail-0', 'mail-1'], ['get', 'update']],
      [['endpointslices'], ['mail-0', 'mail-1'], ['get', 'update']],
      [['persistentvolumeclaims'], ['mail-0-a-queue', 'mail-0-b-queue', 'mail-1-a-queue', 'mail-1-b-queue'], ['get']],
    ])
  })
})

test('a standby goes to another zone where there is one', () => {
  const zoned = ['east', 'east', 'west'].map((zone, index) =>
    node(NODES[index]!, { address: `203.0.113.1${index + 1}`, labels: { 'topology.kubernetes.io/zone': zone } }),
  )
  expect(places(settle(start(1, 1, zoned), pairsFollow))).toEqual({ 'mail-0-a': 'node1', 'mail-0-b': 'node3' })
})

test('with fewer nodes than copies the primary serves, and the standby says what it waits for', () => {
  const settled = settle({ ...start(1), pools: [pool('mail', { node1: ADDRESSES.node1 })] }, pairsFollow)
  expect(places(settled)).toEqual({ 'mail-0-a': 'node1', 'mail-0-b': undefined })
  const condition = named(settled.instances, 'mail-0-b').status?.conditions?.find(({ type }) => type === 'AddressesAssigned')
  expect(condition).toMatchObject({
    status: 'False',
    reason: 'NoNodeFits',
    message: expect.stringContaining('another instance of the shard'),
  })
})

describe('a stream that gets standbys', () => {
  const before = settle(start(0, 2))
  const after = settle(setStandbys(before, 1), pairsFollow)

  test('keeps its instance, with its ports, as the first primary', () => {
    expect(recordOf(after, 'mail-0').holder.instance).toBe('mail-0-a')
    expect(named(after.instances, 'mail-0-a').spec.ports).toMatchObject(named(before.instances, 'mail-0-a').spec.ports)
    expect(before.disruptionBudgets.map(({ metadata }) => metadata.name)).toEqual(['mail-agent'])
    expect(after.disruptionBudgets.map(({ metadata }) => metadata.name).toSorted()).toEqual(['mail-0-agent', 'mail-1-agent'])
  })
})

test('its shards get their first primaries one after the other, and none waits for a standby that waits for it', () => {
  const steps: string[] = []
  settle(setStandbys(settle(start(0, 2)), 1), (one) => {
    const world = pairsFollow(one)
    const serving = ['mail-0-a', 'mail-1-a'].map((name) => (isAlive(world, named(world.instances, name)) ? name : '-'))
    const now = [...serving, ...world.leases.map(({ metadata }) => `record ${metadata.name}`)].join(' ')
    if (steps.at(-1) !== now) steps.push(now)
    return world
  })
  expect(steps).toEqual([
    'mail-0-a mail-1-a',
    '- mail-1-a',
    'mail-0-a mail-1-a record mail-0',
    'mail-0-a - record mail-0',
    'mail-0-a mail-1-a record mail-0 record mail-1',
  ])
})

describe('fewer standbys', () => {
  const pair = setRecord(settle(start(1), pairsFollow), 'mail-0', { holder: { instance: 'mail-0-b', incarnation: 'x' }, epoch: 2 })

  test('never cost the primary, whatever its letter', () => {
    const alone = settle(setStandbys(pair, 0), pairsFollow)
    expect(places(alone)).toEqual({ 'mail-0-b': 'node2' })
    expect(recordOf(alone, 'mail-0').inSync).toEqual([copyOf('mail-0-b')])
    expect(named(alone.instances, 'mail-0-b').spec.replication?.peers).toEqual([])
    expect(alone.claims.map(({ metadata }) => metadata.name)).toContain('mail-0-a-queue')
  })

  test('cost none while the primary does not work', () => {
    const broken = { ...pair, pods: pair.pods.filter(({ metadata }) => metadata.name !== 'mail-0-b') }
    const plan = planStream(setStandbys(broken, 0), { namespace: 'mail', name: 'mail' }, NOW)
    expect(plan?.changes.filter(({ kind }) => kind === 'delete')).toEqual([])
  })

  test('go only when the primary has taken their copy out of the set', () => {
    const stubborn = (one: FleetSnapshot) => ({ ...pairsFollow(one), leases: one.leases })
    const waiting = settle(setStandbys(pair, 0), stubborn)
    expect(named(waiting.instances, 'mail-0-a').metadata.deletionTimestamp).toBeDefined()
    expect(waiting.pods.map(({ metadata }) => metadata.name)).toEqual(['mail-0-b'])
    expect(places(settle(waiting, pairsFollow))).toEqual({ 'mail-0-b': 'node2' })
  })
})

describe('a shard that is no longer wanted', () => {
  const pairs = settle(start(1, 2), pairsFollow)
  const fewer = edit(pairs, (one) => ({ ...one, spec: { ...one.spec, primaries: 1 } }))

  test('goes standby first, when its primary is empty; its record stays with the volumes', () => {
    const order: string[] = []
    const settled = settle(fewer, (one) => {
      const names = one.instances.map(({ metadata }) => metadata.name)
      for (const name of ['mail-1-a', 'mail-1-b']) if (!names.includes(name) && !order.includes(name)) order.push(name)
      return pairsFollow(one)
    })
    expect(order).toEqual(['mail-1-b', 'mail-1-a'])
    expect(settled.leases.map(({ metadata }) => metadata.name)).toEqual(['mail-0', 'mail-1'])
    expect(settled.endpointSlices.map(({ metadata }) => metadata.name)).toEqual(['mail-0'])
  })

  test('goes with record and volumes where empty volumes shall go', () => {
    const thrifty = {
      ...fewer,
      streams: fewer.streams.map((one) => ({
        ...one,
        spec: { ...one.spec, queue: { ...one.spec.queue, volumeRetention: 'DeleteWhenEmpty' as const } },
      })),
    }
    const settled = settle(thrifty, pairsFollow)
    expect(settled.claims.map(({ metadata }) => metadata.name).toSorted()).toEqual(['mail-0-a-queue', 'mail-0-b-queue'])
    expect(settled.leases.map(({ metadata }) => metadata.name)).toEqual(['mail-0'])
  })
})

describe('the record of a shard', () => {
  const pair = settle(start(1), pairsFollow)

  test('is never made a second time', () => {
    const lost = settle({ ...pair, leases: [] }, pairsFollow)
    expect(lost.leases).toEqual([])
    expect(named(lost.streams, 'mail').status?.conditions?.find(({ type }) => type === 'Ready')).toMatchObject({
      status: 'False',
      reason: 'RecordMissing',
    })
  })

  test.each([
    ['RecordWentBack', 'names an epoch that is over'],
    ['RecordContradicts', 'names another primary of its epoch than there was'],
  ])('is said to be wrong when an agent that runs says %s', (trouble, words) => {
    const troubled = withStatus(pair, 'mail-0-a', ({ status }) => ({
      ...status,
      agent: { ...status!.agent!, replication: { ...status!.agent!.replication!, epoch: 3, trouble } },
    }))
    const readyOf = (fleet: FleetSnapshot) =>
      named(planOnce(fleet).fleet.streams, 'mail').status?.conditions?.find(({ type }) => type === 'Ready')
    expect(readyOf(troubled)).toMatchObject({
      status: 'False',
      reason: trouble,
      message: `the record of shard 0 ${words}: 'mail-0-a' has seen epoch 3, and stands still until it is put right: docs/standbys-stuck.md says how`,
    })
    expect(readyOf({ ...troubled, pods: [] })?.reason).not.toBe(trouble)
  })

  test('outlives the stream as its volumes do, and is taken up by the next one of that name', () => {
    const deleted = settle(
      edit(pair, (one) => ({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-05-04T10:00:00Z' } })),
      pairsFollow,
    )
    expect([deleted.streams, deleted.instances]).toEqual([[], []])
    expect(named(deleted.leases, 'mail-0').metadata.finalizers).toEqual([])
    const led = setRecord(deleted, 'mail-0', { holder: { instance: 'mail-0-b', incarnation: 'x' }, epoch: 7, inSync: [copyOf('mail-0-b')] })
    const again = settle({ ...led, streams: start(1).streams }, pairsFollow)
    expect(recordOf(again, 'mail-0')).toMatchObject({ holder: { instance: 'mail-0-b' }, epoch: 7 })
    expect(named(again.leases, 'mail-0').metadata.finalizers).toEqual(['mtafleet.io/record'])
  })

  test('goes with a stream whose volumes are gone', () => {
    const bare = {
      ...edit(pair, (one) => ({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-05-04T10:00:00Z' } })),
      instances: [],
      pods: [],
      claims: [],
    }
    const plan = planStream(bare, { namespace: 'mail', name: 'mail' }, NOW)
    expect(applyChanges(bare, plan?.changes ?? [])).toMatchObject({ leases: [], streams: [] })
  })
})
