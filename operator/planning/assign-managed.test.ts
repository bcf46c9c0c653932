import { describe, expect, test } from 'vitest'
import { findCondition } from '#crds/conditions.ts'
import { claim, fleet, managedPool, named, node, pool, stream, surroundings, withStatus } from '#test/builders/fleet.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import { pairsFollow, setRecord, withStandbys } from '#test/builders/standbys.ts'
import type { FleetSnapshot } from './snapshot.ts'

const NODES = ['node1', 'node2', 'node3'] as const
const nodes = NODES.map((name, index) =>
  node(name, { address: `203.0.113.1${index + 1}`, labels: { edge: name === 'node3' ? 'no' : 'yes' } }),
)
const FOUR = ['192.0.2.11', '192.0.2.12', '192.0.2.13', '192.0.2.14']

type Wish = { readonly primaries?: number; readonly standbys?: number; readonly addresses?: readonly string[]; readonly edge?: boolean }
const start = ({ primaries = 1, standbys = 1, addresses = FOUR, edge = false }: Wish = {}): FleetSnapshot =>
  fleet({
    ...surroundings(...NODES),
    nodes,
    streams: [withStandbys(stream('mail', { primaries }), standbys)],
    pools: [managedPool('mail', addresses, edge ? { nodeSelector: { edge: 'yes' } } : {})],
  })
const setPrimaries = (before: FleetSnapshot, primaries: number): FleetSnapshot => ({
  ...before,
  streams: before.streams.map((one) => ({ ...one, spec: { ...one.spec, primaries } })),
})
const has = ({ instances }: FleetSnapshot) =>
  Object.fromEntries(
    instances
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .map(({ metadata, spec }) => [metadata.name, spec.addresses.map(({ address }) => address.replace('192.0.2.', '')).join(' ')]),
  )
const says = (snapshot: FleetSnapshot, name: string, type: Parameters<typeof findCondition>[1]): string => {
  const condition = findCondition(named(snapshot.instances, name).status?.conditions, type)
  return `${condition?.status} ${condition?.reason}: ${condition?.message}`
}
const poolSays = (snapshot: FleetSnapshot) =>
  named(snapshot.pools, 'mail').status?.addresses?.map(({ address, state, instance }) =>
    [address.replace('192.0.2.', ''), state, ...(instance === undefined ? [] : [instance])].join(' '),
  )

describe('a pair', () => {
  const pair = settle(start(), pairsFollow)

  test('has the addresses of its shard in both specs, on two nodes', () => {
    expect(has(pair)).toEqual({ 'mail-0-a': '11 12 13 14', 'mail-0-b': '11 12 13 14' })
    expect(pair.instances.map(({ spec }) => [spec.nodeName, spec.addressAttachment, spec.directories.addressHolder])).toEqual([
      ['node1', 'Managed', '/run/mtafleet/addresses'],
      ['node2', 'Managed', '/run/mtafleet/addresses'],
    ])
  })

  test('has the container that puts them on the node in both Pods', () => {
    const holders = pair.pods.map((pod) =>
      (pod.spec as { initContainers?: readonly { name: string }[] }).initContainers?.map(({ name }) => name),
    )
    expect(holders).toEqual([['address-holder'], ['address-holder']])
  })

  test('settles: planning again changes nothing', () => {
    expect(planOnce(pairsFollow(pair))).toEqual({ fleet: pairsFollow(pair), writes: 0, said: [] })
  })

  test('is Ready, although the standby has no address on its node', () => {
    const bare = withStatus(pair, 'mail-0-b', ({ status }) => ({
      ...status,
      conditions: status?.conditions?.map((one) => (one.type === 'AddressesPresent' ? { ...one, status: 'False' as const } : one)),
    }))
    const looked = planOnce(bare).fleet
    expect(says(looked, 'mail-0-b', 'Ready')).toBe('True Following: follows its primary, and has all that it has acknowledged')
    expect(says(looked, 'mail-0-b', 'AddressesAssigned')).toBe(
      'True Assigned: 4 of shard 0, on the node of its primary: 192.0.2.11, 192.0.2.12, 192.0.2.13, 192.0.2.14',
    )
  })

  test('is shown in the pool by the one that says it has them on its node; after a takeover by the heir, whatever the old one said last', () => {
    expect(poolSays(pair)).toEqual(FOUR.map((address) => `${address.replace('192.0.2.', '')} Attached mail-0-a`))
    const led = setRecord(pair, 'mail-0', { holder: { instance: 'mail-0-b', incarnation: 'x' }, epoch: 2 })
    const silent = named(led.instances, 'mail-0-a')
    const heir = pairsFollow(led)
    const after = { ...heir, instances: heir.instances.map((one) => (one.metadata.name === 'mail-0-a' ? silent : one)) }
    expect(named(after.instances, 'mail-0-a').status?.agent?.attachedAddresses).toEqual(FOUR)
    expect(poolSays(planOnce(after).fleet)).toEqual(FOUR.map((address) => `${address.replace('192.0.2.', '')} Attached mail-0-b`))
  })

  test('is no conflict; while nobody has an address on a node it is only assigned', () => {
    const between = {
      ...pair,
      instances: pair.instances.map((one) => ({
        ...one,
        status: { ...one.status!, agent: { ...one.status!.agent, attachedAddresses: [] } },
      })),
    }
    expect(named(planOnce(between).fleet.pools, 'mail').status).toMatchObject({
      assigned: 4,
      addresses: FOUR.map((address) => ({ address, state: 'Assigned' })),
      conditions: expect.arrayContaining([expect.objectContaining({ type: 'Ready', status: 'True' })]),
    })
  })
})

test('without standbys the address comes and goes with its only instance', () => {
  const alone = settle(start({ standbys: 0 }))
  expect(has(alone)).toEqual({ 'mail-0-a': '11 12 13 14' })
  expect(poolSays(alone)).toEqual(FOUR.map((address) => `${address.replace('192.0.2.', '')} Attached mail-0-a`))
})

test('how an address is put on the node is told with it', () => {
  const [one] = start().pools
  const described = {
    ...one!,
    spec: { ...one!.spec, addresses: one!.spec.addresses.map((entry) => ({ ...entry, interface: 'bond0', prefixLength: 24 })) },
  }
  const settled = settle({ ...start(), pools: [described] }, pairsFollow)
  expect(named(settled.instances, 'mail-0-b').spec.addresses[0]).toEqual({
    address: '192.0.2.11',
    hostName: 'mta-192-0-2-11.senders.example',
    interface: 'bond0',
    prefixLength: 24,
  })
})

describe('shards', () => {
  test('have even shares, of IPv4 and IPv6 apart', () => {
    const settled = settle(start({ primaries: 2, addresses: [...FOUR.slice(0, 3), '2001:db8::1', '2001:db8::2'] }), pairsFollow)
    expect(has(settled)).toEqual({
      'mail-0-a': '11 12 2001:db8::1',
      'mail-0-b': '11 12 2001:db8::1',
      'mail-1-a': '13 2001:db8::2',
      'mail-1-b': '13 2001:db8::2',
    })
  })

  test('keep theirs when one is added, but for what it must have', () => {
    const two = settle(start({ primaries: 2 }), pairsFollow)
    expect(has(two)).toMatchObject({ 'mail-0-a': '11 13', 'mail-1-a': '12 14' })
    expect(has(settle(setPrimaries(two, 3), pairsFollow))).toMatchObject({
      'mail-0-b': '11 13',
      'mail-1-b': '12',
      'mail-2-a': '14',
      'mail-2-b': '14',
    })
  })

  test('that find no address say so, and have no place yet', () => {
    const settled = settle(start({ primaries: 3, addresses: FOUR.slice(0, 2) }), pairsFollow)
    expect(has(settled)).toMatchObject({ 'mail-0-b': '11', 'mail-1-b': '12', 'mail-2-a': '', 'mail-2-b': '' })
    expect(says(settled, 'mail-2-a', 'AddressesAssigned')).toBe(
      "False PoolExhausted: IPPool 'mail' must have an address for each shard, has 2 for 3 shards",
    )
    expect(named(settled.instances, 'mail-2-a').spec.nodeName).toBeUndefined()
  })
})

test('an address moves to another shard only when every instance of the old one has let it go', () => {
  const pair = settle(start({ addresses: FOUR.slice(0, 2) }), pairsFollow)
  const asked = setPrimaries(pair, 2)
  // The standby is slow: it works by the spec that it had, and says so.
  const slow = (one: FleetSnapshot): FleetSnapshot => {
    const { agent } = named(pair.instances, 'mail-0-b').status!
    return withStatus(pairsFollow(one), 'mail-0-b', ({ status }) => ({ ...status, agent: agent! }))
  }
  const waiting = settle(asked, slow)
  expect(has(waiting)).toEqual({ 'mail-0-a': '11', 'mail-0-b': '11', 'mail-1-a': '', 'mail-1-b': '' })
  expect(says(waiting, 'mail-1-a', 'AddressesAssigned')).toBe(
    'False AddressesInUse: waiting until all agents of another shard have let go: 192.0.2.11 by mail/mail-0-a, mail/mail-0-b; 192.0.2.12 by mail/mail-0-b',
  )
  expect(has(settle(waiting, pairsFollow))).toEqual({ 'mail-0-a': '11', 'mail-0-b': '11', 'mail-1-a': '12', 'mail-1-b': '12' })
})

describe('nodes', () => {
  const places = ({ instances }: FleetSnapshot) => instances.map(({ spec }) => spec.nodeName)

  test('are those that have the labels of the pool', () => {
    expect(places(settle(start({ standbys: 2, edge: true }), pairsFollow))).toEqual(['node1', 'node2', undefined])
  })

  test('with none: it says which labels are missing', () => {
    const bare = { ...start({ edge: true }), nodes: [node('node1')] }
    expect(says(settle(bare, pairsFollow), 'mail-0-a', 'AddressesAssigned')).toBe(
      "False NoNodeFits: no node can take it: none has the labels of the pool's nodeSelector",
    )
  })

  test('where the volume is, the pool must be able to follow', () => {
    const elsewhere = { ...start({ standbys: 0, edge: true }), claims: [claim('mail-0-a', 'mail', 'node3-0')] }
    expect(says(settle(elsewhere), 'mail-0-a', 'AddressesAssigned')).toBe(
      "False VolumeElsewhere: the queue volume is on 'node3', which lacks the labels of the pool's nodeSelector",
    )
  })

  test('a cordoned one is passed over', () => {
    const cordoned = { ...start({ standbys: 0 }), nodes: [node('node1', { cordoned: true }), node('node2')] }
    expect(places(settle(cordoned))).toEqual(['node2'])
  })
})

test('a pool that is made anew with managed addresses gets them back before they go round', () => {
  const before = settle({ ...start({ standbys: 0 }), pools: [pool('mail', { node1: FOUR.slice(0, 2) })] })
  const asked = { ...before, pools: [managedPool('mail', FOUR.slice(0, 2))] }
  const once = planOnce(asked).fleet
  expect(once.instances.map(({ spec }) => [spec.addresses.length, spec.addressAttachment])).toEqual([[0, undefined]])
  expect(settle(once).instances.map(({ spec }) => [spec.addresses.length, spec.addressAttachment])).toEqual([[2, 'Managed']])
})

test('what keeps the address holder from starting is told, for the agent waits for it', () => {
  const alone = settle(start({ standbys: 0 }))
  const waiting = {
    ...alone,
    pods: alone.pods.map((one) => ({
      ...one,
      status: {
        ...one.status,
        conditions: [{ type: 'PodScheduled', status: 'True' }],
        initContainerStatuses: [{ name: 'address-holder', state: { waiting: { reason: 'ErrImagePull', message: 'not found' } } }],
        containerStatuses: [{ name: 'agent', state: { waiting: { reason: 'PodInitializing' } } }],
      },
    })),
  }
  expect(says(planOnce(waiting).fleet, 'mail-0-a', 'PodRunning')).toBe('False ImageNotFound: ErrImagePull: not found')
})
