import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { IPPool } from '#crds/ip-pool.ts'
import { type MTAInstance, portsOf } from '#crds/mta-instance.ts'
import { condition, fleet, NAMESPACE, node, podsRun, pool, stream, surroundings } from '#test/builders/fleet.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import { withStandbys } from '#test/builders/standbys.ts'
import type { FleetSnapshot } from './snapshot.ts'

/**
 * A world that does as it likes: agents take up specs late and report later still, nodes are cordoned, pools and primaries change, and
 * the operator plans in between. Two streams share the nodes.
 */

const NODES = ['node1', 'node2', 'node3']
const ADDRESSES: Record<string, readonly string[]> = {
  node1: ['192.0.2.11', '192.0.2.12', '192.0.2.13', '2001:db8::11', '2001:db8::12'],
  node2: ['192.0.2.21', '192.0.2.22'],
  node3: ['192.0.2.31', '192.0.2.32', '192.0.2.33', '192.0.2.34'],
}

type World = {
  readonly fleet: FleetSnapshot
  /** What the agents really send from, and by which generation; instance uid → that. */
  readonly uses: ReadonlyMap<string, { readonly generation: number; readonly addresses: readonly string[]; readonly mode: string }>
}
type Step = (world: World) => World

const start: World = {
  fleet: fleet({
    ...surroundings(...NODES),
    streams: [stream('alpha'), stream('beta')],
    pools: [pool('alpha', { node1: ['192.0.2.11'] }), pool('beta', { node2: ['192.0.2.21'] })],
  }),
  uses: new Map(),
}

const edit =
  (change: (snapshot: FleetSnapshot) => FleetSnapshot): Step =>
  (world) => ({ ...world, fleet: change(world.fleet) })

const setPrimaries = (name: string, primaries: number): Step =>
  edit((snapshot) => ({
    ...snapshot,
    streams: snapshot.streams.map((one) => (one.metadata.name === name ? { ...one, spec: { ...one.spec, primaries } } : one)),
  }))

const setStandbys = (name: string, standbys: number): Step =>
  edit((snapshot) => ({
    ...snapshot,
    streams: snapshot.streams.map((one) => (one.metadata.name === name ? withStandbys(one, standbys) : one)),
  }))

/** Each address is in one pool or in none; now and then in both, as only a mistake can make it. */
const setPools = (owners: readonly ('alpha' | 'beta' | 'both' | 'none')[]): Step =>
  edit((snapshot) => ({ ...snapshot, pools: snapshot.pools.map((one) => withAddresses(one, owners)) }))

const ALL = NODES.flatMap((nodeName) => (ADDRESSES[nodeName] ?? []).map((address) => ({ address, nodeName })))
const withAddresses = (one: IPPool, owners: readonly string[]): IPPool => ({
  ...one,
  spec: {
    ...one.spec,
    addresses: ALL.filter((_, index) => owners[index] === one.metadata.name || owners[index] === 'both').map((entry) => ({
      ...entry,
      hostName: 'mta.senders.example',
    })),
  },
})

const cordon = (name: string, cordoned: boolean): Step =>
  edit((snapshot) => ({ ...snapshot, nodes: snapshot.nodes.map((one) => (one.metadata.name === name ? node(name, { cordoned }) : one)) }))

/** The agent works by the spec of now; nobody has been told yet. */
const take =
  (which: number): Step =>
  (world) => {
    const instance = world.fleet.instances[which % Math.max(1, world.fleet.instances.length)]
    // Without a Pod there is no agent.
    if (instance === undefined || !world.fleet.pods.some(({ metadata }) => metadata.name === instance.metadata.name)) return world
    const { generation = 1, uid = '' } = instance.metadata
    const uses = { generation, addresses: instance.spec.addresses.map(({ address }) => address), mode: instance.spec.mode }
    return { ...world, uses: new Map([...world.uses, [uid, uses]]) }
  }

const report =
  (which: number): Step =>
  (world) =>
    edit((snapshot) => ({
      ...snapshot,
      instances: snapshot.instances.map((one, index) => (index === which % snapshot.instances.length ? reported(world, one) : one)),
    }))(world)

function reported({ uses }: World, instance: MTAInstance): MTAInstance {
  const said = uses.get(instance.metadata.uid ?? '')
  if (said === undefined) return instance
  const drained = condition('Drained', said.mode === 'Drain' ? 'True' : 'False', said.generation)
  const conditions = [...(instance.status?.conditions ?? []).filter(({ type }) => type !== 'Drained'), drained]
  return {
    ...instance,
    status: { ...instance.status, conditions, agent: { observedGeneration: said.generation, addresses: [...said.addresses] } },
  }
}

const plan: Step = (world) => {
  const planned = planOnce(world.fleet).fleet
  const alive = new Set(planned.instances.map(({ metadata }) => metadata.uid))
  return { fleet: planned, uses: new Map([...world.uses].filter(([uid]) => alive.has(uid))) }
}

const steps = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('alpha', 'beta'), fc.nat(4)).map(([name, count]) => setPrimaries(name, count)) },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.constantFrom('alpha', 'alpha', 'beta', 'beta', 'none', 'both'), { minLength: ALL.length, maxLength: ALL.length })
      .map((owners) => setPools(owners as Parameters<typeof setPools>[0])),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...NODES), fc.boolean()).map(([name, cordoned]) => cordon(name, cordoned)) },
  { weight: 4, arbitrary: fc.nat(7).map(take) },
  { weight: 4, arbitrary: fc.nat(7).map(report) },
  { weight: 1, arbitrary: fc.constant(edit(podsRun)) },
  { weight: 5, arbitrary: fc.constant(plan) },
)

const shardSteps = fc.oneof(
  { weight: 8, arbitrary: steps },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('alpha', 'beta'), fc.nat(2)).map(([name, count]) => setStandbys(name, count)) },
  // All addresses of one node: where there is no other node, a standby has no place.
  {
    weight: 1,
    arbitrary: fc.constantFrom(...NODES).map((only) => setPools(ALL.map(({ nodeName }) => (nodeName === only ? 'alpha' : 'beta')))),
  },
)

/** Who may send from each address: by the spec that stands, and by what is really used. */
function sendersOf({ fleet: snapshot, uses }: World): ReadonlyMap<string, ReadonlySet<string>> {
  const senders = new Map<string, Set<string>>()
  for (const { metadata, spec } of snapshot.instances) {
    const real = uses.get(metadata.uid ?? '')?.addresses ?? []
    for (const address of [...spec.addresses.map((one) => one.address), ...real]) {
      senders.set(address, (senders.get(address) ?? new Set()).add(metadata.name))
    }
  }
  return senders
}

const run = (sequence: readonly Step[], check: (world: World) => void): World =>
  sequence.reduce((world, step) => {
    const next = step(world)
    check(next)
    return next
  }, start)

test('no address ever has two senders, however late the agents are', () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 40 }), (sequence) => {
      run(sequence, (world) => {
        expect([...sendersOf(world)].filter(([, names]) => names.size > 1)).toEqual([])
      })
    }),
    { numRuns: 300 },
  )
})

test('no node ever has two instances of a shard', () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 40 }), (sequence) => {
      run(sequence, ({ fleet: { instances } }) => {
        const places = instances.filter(({ spec }) => spec.nodeName !== undefined)
        const shards = places.map(({ spec }) => `${spec.streamRef.name} ${spec.shard} ${spec.nodeName}`)
        expect(new Set(shards).size).toBe(shards.length)
      })
    }),
    { numRuns: 200 },
  )
})

test("ports are nobody else's on the node", () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 30 }), (sequence) => {
      const { fleet: snapshot } = run([...sequence, plan], () => undefined)
      const ports = snapshot.instances.flatMap(({ spec }) => portsOf(spec.ports).map((port) => `${spec.nodeName ?? '?'} ${port}`))
      expect(new Set(ports).size).toBe(ports.length)
    }),
    { numRuns: 200 },
  )
})

test('once the world stands still, the fleet settles: addresses of the own node and pool, even shares, and planning again changes nothing', () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 25 }), (sequence) => {
      const settled = settle(run(sequence, () => undefined).fleet)
      expect(planOnce(settled)).toEqual({ fleet: settled, writes: 0, said: [] })
      for (const { spec } of settled.instances) {
        const entries = settled.pools.find(({ metadata }) => metadata.name === spec.streamRef.name)?.spec.addresses ?? []
        const own = entries.filter((entry) => entry.nodeName === spec.nodeName).map(({ address }) => address)
        expect(spec.addresses.map(({ address }) => address).filter((address) => !own.includes(address))).toEqual([])
      }
      for (const name of ['alpha', 'beta']) {
        for (const nodeName of NODES) {
          const counts = settled.instances
            .filter(({ spec }) => spec.streamRef.name === name && spec.nodeName === nodeName)
            .map(({ spec }) => spec.addresses.filter(({ address }) => !address.includes(':')).length)
          expect(Math.max(0, ...counts) - Math.min(...counts, Math.max(0, ...counts))).toBeLessThanOrEqual(1)
        }
      }
    }),
    { numRuns: 100 },
  )
})

test('the order in which the caches list things changes no plan', () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 20 }), (sequence) => {
      const { fleet: snapshot } = run(sequence, () => undefined)
      const reversed = Object.fromEntries(
        Object.entries(snapshot).map(([name, value]) => [name, Array.isArray(value) ? value.toReversed() : value]),
      ) as FleetSnapshot
      const specs = (of: FleetSnapshot) =>
        planOnce(of)
          .fleet.instances.map(({ metadata, spec }) => ({ namespace: metadata.namespace ?? NAMESPACE, name: metadata.name, spec }))
          .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      // Streams are planned one after the other: keep their order, turn everything else round.
      expect(specs({ ...reversed, streams: snapshot.streams })).toEqual(specs(snapshot))
    }),
    { numRuns: 100 },
  )
})
