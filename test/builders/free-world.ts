import fc from 'fast-check'
import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { FleetSnapshot } from '#operator/planning/snapshot.ts'
import { condition, fleet, node, podsRun, pool, stream, surroundings } from './fleet.ts'
import { planOnce } from './settle.ts'
import { withStandbys } from './standbys.ts'

/**
 * A world that does as it likes: agents take up specs late and report later still, nodes are cordoned, pools and primaries change, and
 * the operator plans in between. Two streams share the nodes.
 */

export const NODES = ['node1', 'node2', 'node3']
const ADDRESSES: Record<string, readonly string[]> = {
  node1: ['192.0.2.11', '192.0.2.12', '192.0.2.13', '2001:db8::11', '2001:db8::12'],
  node2: ['192.0.2.21', '192.0.2.22'],
  node3: ['192.0.2.31', '192.0.2.32', '192.0.2.33', '192.0.2.34'],
}
export const ALL = NODES.flatMap((nodeName) => (ADDRESSES[nodeName] ?? []).map((address) => ({ address, nodeName })))

export type World = {
  readonly fleet: FleetSnapshot
  /** What the agents really send from, or may as soon as they are primary, and by which generation; instance uid → that. */
  readonly uses: ReadonlyMap<
    string,
    { readonly generation: number; readonly addresses: readonly string[]; readonly mode: string; readonly sender: string }
  >
}

/** Its name tells it in a counterexample. */
export type Step = { readonly name: string; readonly act: (world: World) => World; toString(): string }

const step = (name: string, act: Step['act']): Step => ({ name, act, toString: () => name })
const edit = (name: string, change: (snapshot: FleetSnapshot) => FleetSnapshot): Step =>
  step(name, (world) => ({ ...world, fleet: change(world.fleet) }))

export const start: World = {
  fleet: fleet({
    ...surroundings(...NODES),
    streams: [stream('alpha'), stream('beta')],
    pools: [pool('alpha', { node1: ['192.0.2.11'] }), pool('beta', { node2: ['192.0.2.21'] })],
  }),
  uses: new Map(),
}

export const setPrimaries = (name: string, primaries: number): Step =>
  edit(`${name} gets ${primaries} primaries`, (snapshot) => ({
    ...snapshot,
    streams: snapshot.streams.map((one) => (one.metadata.name === name ? { ...one, spec: { ...one.spec, primaries } } : one)),
  }))

export const setStandbys = (name: string, standbys: number): Step =>
  edit(`${name} gets ${standbys} standbys`, (snapshot) => ({
    ...snapshot,
    streams: snapshot.streams.map((one) => (one.metadata.name === name ? withStandbys(one, standbys) : one)),
  }))

type Owner = 'alpha' | 'beta' | 'both' | 'none'

/** Each address is in one pool or in none; now and then in both, as only a mistake can make it. */
export const setPools = (owners: readonly Owner[]): Step =>
  edit(`addresses go to ${owners.join(' ')}`, (snapshot) => ({
    ...snapshot,
    pools: snapshot.pools.map((one) => withAddresses(one, owners)),
  }))

const withAddresses = (one: IPPool, owners: readonly Owner[]): IPPool => ({
  ...one,
  spec: {
    ...one.spec,
    addresses: ALL.filter((_, index) => owners[index] === one.metadata.name || owners[index] === 'both').map((entry) => ({
      address: entry.address,
      hostName: 'mta.senders.example',
      ...(one.spec.attachment === 'Existing' ? { nodeName: entry.nodeName } : {}),
    })),
  },
})

/** The pool is deleted, and another one of that name made with the same addresses. */
export const setAttachment = (name: string, attachment: IPPool['spec']['attachment']): Step =>
  edit(`${name} is ${attachment}`, (snapshot) => ({
    ...snapshot,
    pools: snapshot.pools.map((one) => {
      if (one.metadata.name !== name) return one
      const owners = ALL.map(({ address }) => (one.spec.addresses.some((entry) => entry.address === address) ? (name as Owner) : 'none'))
      return withAddresses({ ...one, spec: { ...one.spec, attachment } }, owners)
    }),
  }))

export const cordon = (name: string, cordoned: boolean): Step =>
  edit(`${name} is ${cordoned ? 'cordoned' : 'open'}`, (snapshot) => ({
    ...snapshot,
    nodes: snapshot.nodes.map((one) => (one.metadata.name === name ? node(name, { cordoned }) : one)),
  }))

/** The agent works by the spec of now; nobody has been told yet. */
export const take = (which: number): Step =>
  step(`agent ${which} takes its spec up`, (world) => {
    const instance = world.fleet.instances[which % Math.max(1, world.fleet.instances.length)]
    // Without a Pod there is no agent.
    if (instance === undefined || !world.fleet.pods.some(({ metadata }) => metadata.name === instance.metadata.name)) return world
    const { generation = 1, uid = '' } = instance.metadata
    const { addresses, mode } = instance.spec
    const uses = { generation, addresses: addresses.map(({ address }) => address), mode, sender: senderOf(instance) }
    return { ...world, uses: new Map([...world.uses, [uid, uses]]) }
  })

/** An address is one instance's or, where it goes with the role, one shard's. */
const senderOf = ({ metadata, spec }: MTAInstance): string =>
  spec.addressAttachment === 'Managed' ? `shard ${spec.shard} of ${spec.streamRef.name}` : metadata.name

export const report = (which: number): Step =>
  step(`agent ${which} reports`, (world) => ({
    ...world,
    fleet: {
      ...world.fleet,
      instances: world.fleet.instances.map((one, index) => (index === which % world.fleet.instances.length ? reported(world, one) : one)),
    },
  }))

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

export const run: Step = edit('Pods run', podsRun)

export const plan: Step = step('the operator plans', (world) => {
  const planned = planOnce(world.fleet).fleet
  const alive = new Set(planned.instances.map(({ metadata }) => metadata.uid))
  return { fleet: planned, uses: new Map([...world.uses].filter(([uid]) => alive.has(uid))) }
})

const streamNames = fc.constantFrom('alpha', 'beta')

const steps = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(streamNames, fc.nat(4)).map(([name, count]) => setPrimaries(name, count)) },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.constantFrom<Owner>('alpha', 'alpha', 'beta', 'beta', 'none', 'both'), { minLength: ALL.length, maxLength: ALL.length })
      .map(setPools),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...NODES), fc.boolean()).map(([name, cordoned]) => cordon(name, cordoned)) },
  { weight: 4, arbitrary: fc.nat(7).map(take) },
  { weight: 4, arbitrary: fc.nat(7).map(report) },
  { weight: 1, arbitrary: fc.constant(run) },
  { weight: 5, arbitrary: fc.constant(plan) },
)

export const shardSteps = fc.oneof(
  { weight: 8, arbitrary: steps },
  { weight: 1, arbitrary: fc.tuple(streamNames, fc.nat(2)).map(([name, count]) => setStandbys(name, count)) },
  // All addresses of one node: where there is no other node, a standby has no place.
  {
    weight: 1,
    arbitrary: fc.constantFrom(...NODES).map((only) => setPools(ALL.map(({ nodeName }) => (nodeName === only ? 'alpha' : 'beta')))),
  },
)

/** With addresses that go with the role, and pools that are made anew to change that. */
export const managedSteps = fc.oneof(
  { weight: 12, arbitrary: shardSteps },
  {
    weight: 1,
    arbitrary: fc
      .tuple(streamNames, fc.constantFrom('Managed' as const, 'Managed' as const, 'Existing' as const))
      .map(([name, attachment]) => setAttachment(name, attachment)),
  },
)

/** Who may send from each address: by the spec that stands, and by what is really used. */
export function sendersOf({ fleet: snapshot, uses }: World): ReadonlyMap<string, ReadonlySet<string>> {
  const senders = new Map<string, Set<string>>()
  const note = (address: string, sender: string): void => {
    senders.set(address, (senders.get(address) ?? new Set()).add(sender))
  }
  for (const instance of snapshot.instances) {
    for (const { address } of instance.spec.addresses) note(address, senderOf(instance))
    const real = uses.get(instance.metadata.uid ?? '')
    for (const address of real?.addresses ?? []) note(address, real?.sender ?? '')
  }
  return senders
}

/** `check` sees every world on the way. */
export const follow = (sequence: readonly Step[], check: (world: World) => void = () => undefined, from: World = start): World =>
  sequence.reduce((world, { act }) => {
    const next = act(world)
    check(next)
    return next
  }, from)
