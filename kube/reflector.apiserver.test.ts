import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { watchFor } from '#test/support/wait.ts'
import { kubeconfigThrough, openTcpProxy, type TcpProxy } from '#test/cluster/tcp-proxy.ts'
import { Cache } from './cache.ts'
import { type Client, openClient } from './client.ts'
import { systemClock } from './clock.ts'
import { openKubeconfig } from './config.ts'
import { type ReflectorReport, type ReflectorTimes, runReflector } from './reflector.ts'
import { type AnyObject, CONFIG_MAPS } from './resources.ts'

/**
 * The reflector against a real API server that is stopped, frozen, restarted, cut off and given new certificates. Each test starts its own
 * reflector, behind a proxy that counts its connections and can cut them, and compares what the cache holds with what the server has.
 */

const TIMES: ReflectorTimes = {
  watchSeconds: [240, 480],
  silenceMillis: 150_000,
  deadlineMillis: 5000,
  backOff: { firstMillis: 50, maxMillis: 500 },
}

let server: ApiServer
let admin: Client
const call = { signal: new AbortController().signal, deadlineMillis: 20_000 }
let namespaceCount = 0
let label: string

beforeAll(async () => {
  server = await openApiServer()
  admin = openClient(await openKubeconfig(server.kubeconfig))
})
afterAll(async () => {
  await admin[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})
beforeEach(() => {
  namespaceCount += 1
  label = `test-${namespaceCount}`
})

const object = (name: string, value = ''): AnyObject => ({
  metadata: { namespace: 'default', name: `${label}-${name}`, labels: { reflected: label } },
  data: { value },
})
const key = (name: string) => ({ namespace: 'default', name: `${label}-${name}` })
const create = (name: string, value?: string) => admin.create(CONFIG_MAPS, object(name, value), call)
const change = (name: string, value: string) => admin.patch(CONFIG_MAPS, key(name), { data: { value } }, call)
const remove = (name: string) => admin.delete(CONFIG_MAPS, key(name), {}, call)

type Watched = AsyncDisposable & {
  readonly proxy: TcpProxy
  readonly reports: ReflectorReport[]
  /** Waits until the cache holds exactly this: name → value. */
  shows(wanted: Readonly<Record<string, string>>): Promise<void>
  readonly changes: string[]
}

async function watch(times: Partial<ReflectorTimes> = {}): Promise<Watched> {
  const proxy = await openTcpProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
  const client = openClient(await openKubeconfig(kubeconfigThrough(proxy, server.kubeconfig)))
  const cache = new Cache<AnyObject>({})
  const [changes, reports]: [string[], ReflectorReport[]] = [[], []]
  cache.onChange(({ key: { name }, after }) => changes.push(`${after === undefined ? '-' : '+'}${name.slice(label.length + 1)}`))
  const stop = new AbortController()
  const run = runReflector(
    {
      client,
      of: CONFIG_MAPS,
      selection: { namespace: 'default', labelSelector: `reflected=${label}` },
      sink: cache.openSection(),
      clock: systemClock,
      times: { ...TIMES, ...times },
      onReport: (report) => reports.push(report),
    },
    stop.signal,
  )
  const held = () =>
    Object.fromEntries(
      cache.list().map(({ metadata, ...rest }) => [metadata.name.slice(label.length + 1), (rest['data'] as { value: string }).value]),
    )
  return {
    proxy,
    reports,
    changes,
    shows: async (wanted) => {
      const text = JSON.stringify(wanted)
      const probe = () => (cache.hasSynced() && JSON.stringify(held()) === text ? true : undefined)
      await watchFor(`the cache to hold ${text}`, probe, { withinMillis: 30_000, everyMillis: 20 }, () => JSON.stringify(held()))
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await run
      await client[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

const lists = ({ reports }: Watched) => reports.flatMap((report) => (report.kind === 'listed' ? report.because : []))
const failures = ({ reports }: Watched) => reports.flatMap((report) => (report.kind === 'failed' ? [report.error.failure] : []))

test('what is there, what comes, changes and goes', async () => {
  await create('a', '1')
  await using watched = await watch()
  await watched.shows({ a: '1' })
  await create('b', '2')
  await change('a', '3')
  await watched.shows({ a: '3', b: '2' })
  await remove('a')
  await watched.shows({ b: '2' })
  expect([watched.changes, lists(watched), watched.proxy.accepted]).toEqual([['+a', '+b', '+a', '-a'], ['Start'], 2])
})

test('managed fields are not kept, kind and version are filled in', async () => {
  await create('a')
  const cache = new Cache<AnyObject>({})
  const stop = new AbortController()
  const selection = { namespace: 'default', labelSelector: `reflected=${label}` }
  const run = runReflector({ client: admin, of: CONFIG_MAPS, selection, sink: cache.openSection(), clock: systemClock }, stop.signal)
  await cache.waitForSync(AbortSignal.timeout(10_000))
  const [found] = cache.list()
  stop.abort()
  await run
  expect([found?.kind, found?.apiVersion, Object.keys(found?.metadata ?? {}).includes('managedFields')]).toEqual(['ConfigMap', 'v1', false])
})

test('a watch that the server ends goes on where it was, without a list', async () => {
  await using watched = await watch({ watchSeconds: [1, 1] })
  await watched.shows({})
  await watchFor('three watches', () => (watched.reports.filter(({ kind }) => kind === 'watching').length >= 3 ? true : undefined), {
    withinMillis: 20_000,
  })
  await create('a', '1')
  await watched.shows({ a: '1' })
  expect([lists(watched), failures(watched)]).toEqual([['Start'], []])
})

test('a cut network: nothing is missed and nothing is listed again', async () => {
  await create('gone', '1')
  await create('stays', '1')
  await using watched = await watch()
  await watched.shows({ gone: '1', stays: '1' })
  watched.proxy.cut()
  await remove('gone')
  await change('stays', '2')
  await create('new', '3')
  await watchFor('a failure', () => (failures(watched).length > 1 ? true : undefined), { withinMillis: 10_000 })
  watched.proxy.heal()
  await watched.shows({ new: '3', stays: '2' })
  expect(lists(watched)).toEqual(['Start'])
})

test('a restarted server is found again', async () => {
  await create('a', '1')
  await using watched = await watch()
  await watched.shows({ a: '1' })
  await server.stop()
  await watchFor('a refused call', () => (failures(watched).length > 2 ? true : undefined), { withinMillis: 10_000 })
  await server.start()
  await change('a', '2')
  await watched.shows({ a: '2' })
  expect(failures(watched).map(({ kind }) => kind)).toContain('unavailable')
})

test('a place that is too old is listed again, and only what differs is told', async () => {
  await create('a', '1')
  await create('b', '1')
  await create('c', '1')
  await using watched = await watch()
  await watched.shows({ a: '1', b: '1', c: '1' })
  watched.proxy.cut()
  watched.changes.length = 0
  await change('b', '2')
  await remove('c')
  await create('d', '4')
  // A fresh server remembers nothing from before its start.
  await server.stop()
  await server.start()
  await admin.create(CONFIG_MAPS, object('later', '5'), call)
  watched.proxy.heal()
  await watched.shows({ a: '1', b: '2', d: '4', later: '5' })
  expect([lists(watched), watched.changes.toSorted()]).toEqual([
    ['Start', 'TooOld'],
    ['+b', '+d', '+later', '-c'],
  ])
})

test('a frozen server is noticed by its silence', async () => {
  await create('a', '1')
  await using watched = await watch({ silenceMillis: 1000, deadlineMillis: 1000 })
  await watched.shows({ a: '1' })
  server.freeze()
  try {
    await watchFor('timeouts', () => (failures(watched).length >= 2 ? true : undefined), { withinMillis: 20_000 })
  } finally {
    server.thaw()
  }
  await change('a', '2')
  await watched.shows({ a: '2' })
  expect(new Set(failures(watched).map((failure) => JSON.stringify(failure)))).toEqual(
    new Set([JSON.stringify({ kind: 'unavailable', reason: 'timeout' })]),
  )
})

test('a new serving certificate changes nothing for those who trust its authority', async () => {
  await create('a', '1')
  await using watched = await watch()
  await watched.shows({ a: '1' })
  await server.rotateServingCertificate()
  watched.proxy.cut()
  watched.proxy.heal()
  await change('a', '2')
  await watched.shows({ a: '2' })
  expect(failures(watched).filter(({ kind }) => kind !== 'unavailable')).toEqual([])
})

test('one object can be watched alone, by its name', async () => {
  await create('mine', '1')
  await create('other', '1')
  const cache = new Cache<AnyObject>({})
  const stop = new AbortController()
  const selection = { namespace: 'default', fieldSelector: `metadata.name=${label}-mine` }
  const run = runReflector({ client: admin, of: CONFIG_MAPS, selection, sink: cache.openSection(), clock: systemClock }, stop.signal)
  await cache.waitForSync(AbortSignal.timeout(10_000))
  await change('other', '2')
  await change('mine', '2')
  const mine = await watchFor('the change', () => cache.list().find(({ data }) => (data as { value: string }).value === '2'), {
    withinMillis: 10_000,
  })
  stop.abort()
  await run
  expect([mine.metadata.name, cache.size]).toEqual([`${label}-mine`, 1])
})

test('at rest there are no lists: the audit log shows one for each reflector, at its start', async () => {
  await using watched = await watch({ watchSeconds: [1, 1] })
  await watched.shows({})
  await watchFor('four watches', () => (watched.reports.filter(({ kind }) => kind === 'watching').length >= 4 ? true : undefined), {
    withinMillis: 20_000,
  })
  const lines = (await readFile(server.auditLogFile, 'utf8')).split('\n').filter((line) => line.includes(`reflected%3D${label}`))
  const verbs = lines.map((line) => (JSON.parse(line) as { verb: string; stage: string }).verb)
  expect([verbs.filter((verb) => verb === 'list').length, new Set(verbs)]).toEqual([1, new Set(['list', 'watch'])])
})
