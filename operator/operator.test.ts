import { expect, test } from 'vitest'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { Client } from '#kube/client.ts'
import { KubeError } from '#kube/errors.ts'
import type { EventRecorder } from '#kube/events.ts'
import type { KubeObject, Resource } from '#kube/resources.ts'
import { planStream } from '#operator/planning/plan-stream.ts'
import { systemClock } from '#kube/clock.ts'
import { applyChanges, fleet, NAMESPACE, NOW, pool, settings, stream, surroundings } from '#test/builders/fleet.ts'
import { Fleet } from './fleet.ts'
import { openLog } from './log.ts'
import { openMetrics } from './metrics.ts'
import { Operator } from './operator.ts'

/**
 * The operator over an API server whose watches bring nothing: what its caches were filled with is all that they know. `list` reads what there is now;
 * the first time it fails.
 */
function start(cached: Readonly<Record<string, readonly KubeObject[]>>, now: Readonly<Record<string, readonly KubeObject[]>>) {
  const stop = new AbortController()
  const lists: string[] = []
  const applied = Promise.withResolvers<MTAInstance>()
  const client = {
    async *listPages(of: Resource) {
      yield { items: cached[of.kind] ?? [], resourceVersion: '10' }
    },
    async *watch(_: unknown, __: unknown, { signal }: { readonly signal: AbortSignal }) {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      yield* []
    },
    list: async (of: Resource) => {
      lists.push(of.kind)
      if (lists.filter((kind) => kind === of.kind).length === 1) throw new KubeError({ kind: 'unavailable', reason: 'refused' }, 'not now')
      return { items: now[of.kind] ?? [], resourceVersion: '30' }
    },
    find: async (_: unknown, { name }: { readonly name: string }) => ({ metadata: { name, resourceVersion: '1' }, type: 'Opaque' }),
    patch: async (_: unknown, key: object) => ({ metadata: key }),
    apply: async (_: unknown, object: KubeObject) => {
      if (object.kind === 'MTAInstance') applied.resolve(object as MTAInstance)
      return object
    },
    applyStatus: async (_: unknown, object: KubeObject) => object,
  } as unknown as Client
  const log = openLog({ logLevel: 'Error', podName: 'operator-1' })
  const world = new Fleet({ client, namespaces: [], clock: systemClock, settings, onReport: () => undefined })
  const events = { record: () => undefined } as unknown as EventRecorder
  const metrics = openMetrics()
  const operator = new Operator({ client, fleet: world, events, clock: systemClock, log, metrics })
  const depths = async () =>
    (await metrics.registry.getSingleMetric('mtafleet_queue_depth')?.get())?.values.map(
      ({ value, labels }) => `${labels['controller']} ${value}`,
    )
  const run = async () => {
    const watching = world.run(stop.signal)
    await world.waitForSync(stop.signal)
    const working = operator.run(stop.signal)
    try {
      return await applied.promise
    } finally {
      stop.abort()
      await Promise.all([watching, working])
    }
  }
  /** Fills its caches and does not lead. */
  const stand = async () => {
    const watching = world.run(stop.signal)
    await world.waitForSync(stop.signal)
    const found = await depths()
    stop.abort()
    await watching
    return found
  }
  return { run, stand, lists }
}

const versioned = <T extends { readonly metadata: object }>(object: T, resourceVersion: string): T => ({
  ...object,
  metadata: { ...object.metadata, resourceVersion },
})

test('a new leader gives out nothing that the one before gave out and its own watches have not shown yet', async () => {
  const before = fleet({
    ...surroundings('node1'),
    streams: [stream('first'), stream('second')],
    pools: [pool('first', { node1: ['192.0.2.11'] }), pool('second', { node1: ['192.0.2.12'] })],
  })
  const first = planStream(before, { namespace: NAMESPACE, name: 'first' }, NOW)
  const { instances } = applyChanges(before, first?.changes ?? [])
  const cached = {
    SendingStream: before.streams.filter(({ metadata }) => metadata.name === 'second').map((one) => versioned(one, '5')),
    IPPool: before.pools,
    Node: before.nodes,
  } as unknown as Record<string, readonly KubeObject[]>
  const { run, lists } = start(cached, { MTAInstance: instances.map((one) => versioned(one, '20')) as unknown as KubeObject[] })
  expect((await run()).spec.ports).toEqual({ submission: 20003, submissions: 20004, admin: 20005 })
  expect(lists.filter((kind) => kind === 'MTAInstance')).toHaveLength(2)
})

test('a replica that does not lead collects no work', async () => {
  const streams = [stream('first'), stream('second')] as unknown as KubeObject[]
  expect(await start({ SendingStream: streams }, {}).stand()).toEqual(['SendingStream 0', 'MTAInstance 0', 'IPPool 0'])
})
