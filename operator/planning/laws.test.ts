import fc from 'fast-check'
import { expect, test } from 'vitest'
import { portsOf } from '#crds/mta-instance.ts'
import { NAMESPACE } from '#test/builders/fleet.ts'
import {
  ALL,
  follow,
  NODES,
  plan,
  sendersOf,
  setPools,
  setPrimaries,
  setStandbys,
  shardSteps,
  take,
  type World,
} from '#test/builders/free-world.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import type { FleetSnapshot } from './snapshot.ts'

const sharedAddresses = (world: World) => [...sendersOf(world)].filter(([, names]) => names.size > 1)

test('no address ever has two senders, however late the agents are', () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 40, size: 'max' }), (sequence) => {
      follow(sequence, (world) => expect(sharedAddresses(world)).toEqual([]))
    }),
    { numRuns: 300 },
  )
})

/** Found by the law above: the agent had no time to say that it works, and the Pod that got standbys was already another one. */
test('an address stays bound when the Pod is gone before its agent has said anything', () => {
  const owners = ['none', 'none', 'none', ...ALL.slice(3).map(() => 'beta' as const)] as const
  const sequence = [setPools(owners), plan, take(1), setStandbys('beta', 1), plan, setPrimaries('beta', 2), plan, plan]
  const names = follow(sequence, (world) => expect(sharedAddresses(world)).toEqual([])).fleet.instances.map(({ metadata }) => metadata.name)
  expect(names).toContain('beta-1-a')
})

test('no node ever has two instances of a shard', () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 40 }), (sequence) => {
      follow(sequence, ({ fleet: { instances } }) => {
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
      const { fleet: snapshot } = follow([...sequence, plan])
      const ports = snapshot.instances.flatMap(({ spec }) => portsOf(spec.ports).map((port) => `${spec.nodeName ?? '?'} ${port}`))
      expect(new Set(ports).size).toBe(ports.length)
    }),
    { numRuns: 200 },
  )
})

test('once the world stands still, the fleet settles: addresses of the own node and pool, even shares, and planning again changes nothing', () => {
  fc.assert(
    fc.property(fc.array(shardSteps, { maxLength: 25 }), (sequence) => {
      const settled = settle(follow(sequence).fleet)
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
      const { fleet: snapshot } = follow(sequence)
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
