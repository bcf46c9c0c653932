import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { watchFor } from '#test/support/wait.ts'
import { type Client, openClient } from './client.ts'
import { systemClock } from './clock.ts'
import { openKubeconfig } from './config.ts'
import { type KubeEvent, openEvents } from './events.ts'
import { acquireLease, type HeldLease } from './lease.ts'
import { EVENTS, LEASES } from './resources.ts'

let server: ApiServer
let client: Client
const call = { signal: new AbortController().signal }

beforeAll(async () => {
  server = await openApiServer()
  client = openClient(await openKubeconfig(server.kubeconfig))
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const TIMES = { leaseDurationMillis: 3000, renewDeadlineMillis: 2000, retryMillis: 200, callMillis: 1000 }

function acquire(name: string, identity: string, signal: AbortSignal = call.signal): Promise<HeldLease> {
  return acquireLease({ client, key: { namespace: 'default', name }, identity, times: TIMES, clock: systemClock }, signal)
}

const holderOf = async (name: string) => (await client.get(LEASES, { namespace: 'default', name }, call)).spec?.holderIdentity

test('one of two leads; when it releases, the other leads at once', async () => {
  const first = await acquire('released', 'one')
  const second = acquire('released', 'two')
  const renewals = new Set<string | undefined>()
  await watchFor(
    'three renewals',
    async () =>
      renewals.add((await client.get(LEASES, { namespace: 'default', name: 'released' }, call)).spec?.renewTime).size > 3
        ? true
        : undefined,
    { withinMillis: 10_000 },
  )
  expect(await holderOf('released')).toBe('one')
  const released = performance.now()
  await first.release()
  await using _ = await second
  expect(performance.now() - released).toBeLessThan(1000)
  expect([first.lost.aborted, await holderOf('released')]).toEqual([false, 'two'])
})

test('one that ends without releasing is followed after its lease duration, not before', async () => {
  const first = await acquire('left', 'one')
  const second = acquire('left', 'two')
  const ended = performance.now()
  await first[Symbol.asyncDispose]()
  await using _ = await second
  // The last renewal may have been a moment before the end.
  expect(performance.now() - ended).toBeGreaterThan(TIMES.leaseDurationMillis - 2 * TIMES.retryMillis)
})

test('a holder that went without a word is followed after its lease duration, not before', async () => {
  await client.create(
    LEASES,
    { metadata: { namespace: 'default', name: 'silent' }, spec: { holderIdentity: 'dead', leaseDurationSeconds: 2, leaseTransitions: 4 } },
    call,
  )
  const started = performance.now()
  await using _ = await acquire('silent', 'heir')
  expect(performance.now() - started).toBeGreaterThanOrEqual(2000)
  const lease = await client.get(LEASES, { namespace: 'default', name: 'silent' }, call)
  expect([lease.spec?.holderIdentity, lease.spec?.leaseTransitions]).toEqual(['heir', 5])
})

test('a holder that cannot renew gives up before anyone may follow', async () => {
  await using held = await acquire('unreachable', 'one')
  const frozen = performance.now()
  server.freeze()
  try {
    await watchFor('the loss', () => (held.lost.aborted ? true : undefined), { withinMillis: 10_000, everyMillis: 10 })
  } finally {
    server.thaw()
  }
  expect([held.lost.reason instanceof Error && held.lost.reason.message, performance.now() - frozen < TIMES.leaseDurationMillis]).toEqual([
    'the lease could not be renewed in time',
    true,
  ])
})

test('a holder that was overruled knows it at its next renewal', async () => {
  await using held = await acquire('overruled', 'one')
  const lease = await client.get(LEASES, { namespace: 'default', name: 'overruled' }, call)
  await client.patch(LEASES, { namespace: 'default', name: 'overruled' }, { spec: { ...lease.spec, holderIdentity: 'another' } }, call)
  await watchFor('the loss', () => (held.lost.aborted ? true : undefined), { withinMillis: 5000 })
  expect(await holderOf('overruled')).toBe('another')
})

test('waiting for a lease ends with the signal', async () => {
  await using _ = await acquire('busy', 'one')
  await expect(acquire('busy', 'two', AbortSignal.timeout(300))).rejects.toThrow('timeout')
})

test('times that would allow two leaders are refused', async () => {
  const times = { ...TIMES, renewDeadlineMillis: 3000 }
  await expect(
    acquireLease({ client, key: { namespace: 'default', name: 'bad' }, identity: 'one', times, clock: systemClock }, call.signal),
  ).rejects.toThrow('lease times must satisfy call + retry < renew deadline < lease duration, but are 1000 + 200, 3000, 3000 ms')
})

test('an Event reaches the API server, its repeats become a series, and a lost one is reported', async () => {
  const event: KubeEvent = {
    regarding: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'subject', uid: 'u' },
    type: 'Warning',
    reason: 'ImageMissing',
    action: 'StartPod',
    note: `${'ä'.repeat(600)}`,
  }
  let minutes = 0
  const clock = { ...systemClock, monotonic: () => minutes * 60_000 }
  const lost: string[] = []
  const onLoss = ({ regarding }: KubeEvent, why: string | Error) => lost.push(`${regarding.name}: ${why instanceof Error ? 'failed' : why}`)
  {
    await using events = openEvents({ client, controller: 'mtafleet.io/test', instance: 'test-1', clock, onLoss })
    events.record(event)
    for (minutes = 1; minutes <= 3; minutes += 1) events.record(event)
    events.record({ ...event, regarding: { ...event.regarding, namespace: 'nowhere', name: 'lost' } })
  }
  const { items } = await client.list(EVENTS, { namespace: 'default' }, call)
  const [found] = items.filter(({ regarding }) => (regarding as { name: string }).name === 'subject')
  expect([
    found?.['reason'],
    found?.['reportingController'],
    (found?.['series'] as { count: number } | undefined)?.count,
    Buffer.byteLength(String(found?.['note'])) <= 1024,
  ]).toEqual(['ImageMissing', 'mtafleet.io/test', 4, true])
  expect(lost).toEqual(['lost: failed'])
})
