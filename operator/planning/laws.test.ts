import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MTAInstance, portsOf } from '#crds/mta-instance.ts'
import { NAMESPACE } from '#test/builders/fleet.ts'
import {
  ALL,
  follow,
  managedSteps,
  NODES,
  plan,
  sendersOf,
  setAttachment,
  setPools,
  setPrimaries,
  setStandbys,
  shardSteps,
  start,
  take,
  type World,
} from '#test/builders/free-world.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import type { FleetSnapshot } from './snapshot.ts'

const managedStart = follow([setAttachment('alpha', 'Managed'), setAttachment('beta', 'Managed')])
const WORLDS = [
  { kind: 'addresses of nodes', from: start, steps: shardSteps },
  { kind: 'addresses that go with the role', from: managedStart, steps: managedSteps },
]

const sharedAddresses = (world: World) => [...sendersOf(world)].filter(([, names]) => names.size > 1)

describe.each(WORLDS)('$kind', ({ from, steps }) => {
  test('no address ever has two senders, however late the agents are', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 40, size: 'max' }), (sequence) => {
        follow(sequence, (world) => expect(sharedAddresses(world)).toEqual([]), from)
      }),
      { numRuns: 300 },
    )
  })

  test('no node ever has two instances of a shard', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 40 }), (sequence) => {
        const check = ({ fleet: { instances } }: World): void => {
          const places = instances.filter(({ spec }) => spec.nodeName !== undefined)
          const shards = places.map(({ spec }) => `${spec.streamRef.name} ${spec.shard} ${spec.nodeName}`)
          expect(new Set(shards).size).toBe(shards.length)
        }
        follow(sequence, check, from)
      }),
      { numRuns: 200 },
    )
  })

  test("ports are nobody else's on the node", () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 30 }), (sequence) => {
        const { fleet: snapshot } = follow([...sequence, plan], undefined, from)
        const ports = snapshot.instances.flatMap(({ spec }) => portsOf(spec.ports).map((port) => `${spec.nodeName ?? '?'} ${port}`))
        expect(new Set(ports).size).toBe(ports.length)
      }),
      { numRuns: 200 },
    )
  })

  test('once the world stands still, the fleet settles: addresses of the own pool, even shares, and planning again changes nothing', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 25 }), (sequence) => {
        const settled = settle(follow(sequence, undefined, from).fleet)
        expect(planOnce(settled)).toEqual({ fleet: settled, writes: 0, said: [] })
        for (const { metadata, spec } of settled.pools) {
          const instances = settled.instances.filter((one) => one.spec.streamRef.name === metadata.name)
          const check = spec.attachment === 'Managed' ? checkShards : checkNodes
          check(spec.addresses, instances)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('the order in which the caches list things changes no plan', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 20 }), (sequence) => {
        const { fleet: snapshot } = follow(sequence, undefined, from)
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
})

type Entries = readonly { readonly address: string; readonly nodeName?: string | undefined }[]
const isIPv4 = (address: string): boolean => !address.includes(':')
const addressesOf = ({ spec }: MTAInstance): readonly string[] => spec.addresses.map(({ address }) => address)
const spread = (counts: readonly number[]): number => Math.max(0, ...counts) - Math.min(...counts, Math.max(0, ...counts))

function checkNodes(entries: Entries, instances: readonly MTAInstance[]): void {
  for (const nodeName of NODES) {
    const here = instances.filter(({ spec }) => spec.nodeName === nodeName)
    const own = entries.filter((entry) => entry.nodeName === nodeName).map(({ address }) => address)
    expect(here.flatMap(addressesOf).filter((address) => !own.includes(address))).toEqual([])
    expect(spread(here.map((one) => addressesOf(one).filter(isIPv4).length))).toBeLessThanOrEqual(1)
  }
}

function checkShards(entries: Entries, instances: readonly MTAInstance[]): void {
  const own = entries.map(({ address }) => address)
  const placed = instances.filter(({ spec }) => spec.nodeName !== undefined)
  const shards = Map.groupBy(placed, ({ spec }) => spec.shard)
  expect(instances.flatMap(addressesOf).filter((address) => !own.includes(address))).toEqual([])
  for (const members of shards.values()) expect(new Set(members.map((one) => addressesOf(one).join(' '))).size).toBe(1)
  expect(spread([...shards.values()].map(([one]) => addressesOf(one!).filter(isIPv4).length))).toBeLessThanOrEqual(1)
}

/** Found by the first law: the agent had no time to say that it works, and the Pod that got standbys was already another one. */
test('an address stays bound when the Pod is gone before its agent has said anything', () => {
  const owners = ['none', 'none', 'none', ...ALL.slice(3).map(() => 'beta' as const)] as const
  const sequence = [setPools(owners), plan, take(1), setStandbys('beta', 1), plan, setPrimaries('beta', 2), plan, plan]
  const names = follow(sequence, (world) => expect(sharedAddresses(world)).toEqual([])).fleet.instances.map(({ metadata }) => metadata.name)
  expect(names).toContain('beta-1-a')
})
