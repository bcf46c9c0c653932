import { expect, test } from 'vitest'
import { fleet, NAMESPACE, NOW, pool, stream, surroundings } from '#test/builders/fleet.ts'
import { settle } from '#test/builders/settle.ts'
import type { Applied, Change, EventNote } from '#operator/planning/change.ts'
import type { FleetSnapshot } from '#operator/planning/snapshot.ts'
import { findCondition } from '#crds/conditions.ts'
import type { Condition } from '#crds/meta.ts'
import { reconcileIPPool } from './ip-pool.ts'
import { reconcileMTAInstance } from './mta-instance.ts'
import { reconcileSendingStream } from './sending-stream.ts'

const signal = new AbortController().signal

/** Ports that write down what they are asked for, in order. */
function recorder(snapshot: FleetSnapshot, answer: (change: Change) => Applied = () => ({ kind: 'done' })) {
  const log: string[] = []
  const ready: (string | undefined)[] = []
  const report = async (_: unknown, status: { readonly conditions?: readonly Condition[] | undefined }) => {
    const found = findCondition(status.conditions, 'Ready')
    ready.push(`${found?.status} ${found?.reason}: ${found?.message}`)
    log.push('report')
  }
  const ports = {
    readFleet: async () => snapshot,
    now: () => NOW,
    applyChange: async (change: Change) => {
      const { kind } = 'object' in change ? change.object : 'ref' in change ? change.ref : change.secret
      log.push(`${change.kind} ${kind}`)
      return answer(change)
    },
    reportStream: report,
    reportInstance: report,
    reportPool: report,
    publish: (event: EventNote) => void log.push(`event ${event.reason}`),
  }
  return { ports, log, ready }
}

const start = fleet({ ...surroundings('node1'), streams: [stream('mail')], pools: [pool('mail', { node1: ['192.0.2.11'] })] })
const key = { namespace: NAMESPACE, name: 'mail' }

test('acts, then reports, then tells; rights before what uses them', async () => {
  const { ports, log } = recorder(start)
  expect(await reconcileSendingStream(ports, key, signal)).toBe('never')
  expect(log).toEqual([
    'apply ServiceAccount',
    'apply Role',
    'apply RoleBinding',
    'apply Service',
    'apply PodDisruptionBudget',
    'apply MTAInstance',
    'report',
    'event InstanceCreated',
    'event Accepted',
  ])
})

test('what the API server refuses stops the plan, stands in the status, and is tried again later', async () => {
  const settled = settle(start)
  const bare: FleetSnapshot = { ...settled, pods: [] }
  const said = 'pods "mail-0-a" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
  const { ports, log, ready } = recorder(bare, (change) =>
    change.kind === 'create' ? { kind: 'refused', message: said } : { kind: 'done' },
  )
  expect(await reconcileMTAInstance(ports, { namespace: NAMESPACE, name: 'mail-0-a' }, signal)).toEqual({ after: 30_000 })
  expect(log).toEqual(['create Pod', 'report', 'event Refused'])
  expect(ready).toEqual([`False Refused: the API server refused: ${said}`])
})

test('at rest nothing is asked for', async () => {
  const { ports, log } = recorder(settle(start))
  await reconcileSendingStream(ports, key, signal)
  await reconcileMTAInstance(ports, { namespace: NAMESPACE, name: 'mail-0-a' }, signal)
  await reconcileIPPool(ports, key, signal)
  expect(log).toEqual([])
})

test('what is gone needs nothing', async () => {
  const { ports, log } = recorder(fleet({}))
  const results = [
    await reconcileSendingStream(ports, key, signal),
    await reconcileMTAInstance(ports, key, signal),
    await reconcileIPPool(ports, key, signal),
  ]
  expect([results, log]).toEqual([['never', 'never', 'never'], []])
})

test('a throw of a port is a throw of the reconcile: the loop tries again', async () => {
  const { ports } = recorder(start, () => {
    throw new Error('connection reset')
  })
  await expect(reconcileSendingStream(ports, key, signal)).rejects.toThrow('connection reset')
})
