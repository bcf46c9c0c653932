import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { binary, ensureBinaries } from '#test/cluster/binaries.ts'
import { runCommand } from '#test/support/command.ts'
import { kubeconfigThrough, openTcpProxy } from '#test/cluster/tcp-proxy.ts'
import { type Client, openClient } from './client.ts'
import { openInCluster, openKubeconfig } from './config.ts'
import { KubeError } from './errors.ts'
import { type AnyObject, CONFIG_MAPS, DISRUPTION_BUDGETS, metadataOnly, NAMESPACES, SECRETS, SERVICE_ACCOUNTS } from './resources.ts'

let server: ApiServer
let client: Client
const call = { signal: new AbortController().signal }

beforeAll(async () => {
  await ensureBinaries(['kubectl'])
  server = await openApiServer()
  client = openClient(await openKubeconfig(server.kubeconfig))
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const configMap = (name: string, data: Readonly<Record<string, string>> = {}): AnyObject => ({
  metadata: { namespace: 'default', name },
  data,
})
const key = (name: string) => ({ namespace: 'default', name })
const port = () => ({ host: '127.0.0.1', port: Number(new URL(server.url).port) })

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  )
  return error instanceof KubeError ? error.failure : error
}

test('an object is created, read, changed, and gone after delete', async () => {
  const created = await client.create(CONFIG_MAPS, configMap('life', { a: '1' }), call)
  expect((await client.get(CONFIG_MAPS, key('life'), call))['data']).toEqual({ a: '1' })
  const updated = await client.update(CONFIG_MAPS, { ...created, data: { a: '2' } }, call)
  const patched = await client.patch(CONFIG_MAPS, key('life'), { data: { b: '3' } }, call)
  expect([updated['data'], patched['data']]).toEqual([{ a: '2' }, { a: '2', b: '3' }])
  await client.delete(CONFIG_MAPS, key('life'), {}, call)
  expect(await client.find(CONFIG_MAPS, key('life'), call)).toBeUndefined()
})

test('failures are told apart', async () => {
  const created = await client.create(CONFIG_MAPS, configMap('failures'), call)
  await client.update(CONFIG_MAPS, { ...created, data: { a: '1' } }, call)
  expect([
    await failureOf(client.get(CONFIG_MAPS, key('nothing'), call)),
    await failureOf(client.create(CONFIG_MAPS, configMap('failures'), call)),
    await failureOf(client.update(CONFIG_MAPS, created, call)),
    await failureOf(client.delete(CONFIG_MAPS, key('failures'), { uid: 'another' }, call)),
    await failureOf(client.create(CONFIG_MAPS, configMap('Not A Name'), call)),
    await failureOf(client.create(CONFIG_MAPS, { ...configMap('strict'), dta: {} }, call)),
  ]).toEqual([
    { kind: 'notFound' },
    { kind: 'alreadyExists' },
    { kind: 'conflict' },
    { kind: 'conflict' },
    { kind: 'invalid' },
    { kind: 'invalid' },
  ])
})

test('the words of the server reach the error', async () => {
  await expect(client.create(CONFIG_MAPS, configMap('Not A Name'), call)).rejects.toThrow('a lowercase RFC 1123 subdomain must consist of')
})

test('what RBAC does not allow is forbidden', async () => {
  await using nobody = openClient(await openKubeconfig(await server.kubeconfigFor('nobody')))
  expect(await failureOf(nobody.list(SECRETS, {}, call))).toEqual({ kind: 'forbidden' })
})

test('server-side apply creates, changes what it owns, drops what it no longer names, and takes fields from others only when told', async () => {
  const apply = (owner: string, data: Readonly<Record<string, string>>, conflicts?: 'Refuse') =>
    client.apply(CONFIG_MAPS, configMap('applied', data), { owner, ...(conflicts === undefined ? {} : { conflicts }) }, call)
  await apply('one', { a: '1', b: '1' })
  await apply('two', { c: '2' })
  expect((await apply('one', { a: '3' }))['data']).toEqual({ a: '3', c: '2' })
  expect(await failureOf(apply('two', { a: '4' }, 'Refuse'))).toEqual({ kind: 'conflict' })
  expect((await apply('two', { a: '4' }))['data']).toEqual({ a: '4' })
})

test('applying status leaves the spec alone', async () => {
  await client.create(DISRUPTION_BUDGETS, { ...configMap('budget'), data: undefined, spec: { minAvailable: 1 } }, call)
  const status = { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 }
  const applied = await client.applyStatus(DISRUPTION_BUDGETS, { metadata: key('budget'), status }, { owner: 'test' }, call)
  expect([applied['spec'], applied['status']]).toMatchObject([{ minAvailable: 1 }, status])
})

test('a list of more than a page is whole, page by page', async () => {
  for (let batch = 0; batch < 60; batch += 1) {
    const names = Array.from({ length: 20 }, (_, index) => `many-${batch}-${index}`)
    await Promise.all(
      names.map((name) => client.create(CONFIG_MAPS, { ...configMap(name), metadata: { ...key(name), labels: { many: 'yes' } } }, call)),
    )
  }
  const pages: number[] = []
  for await (const page of client.listPages(CONFIG_MAPS, { labelSelector: 'many=yes' }, call)) pages.push(page.items.length)
  expect(pages).toEqual([500, 500, 200])
})

test('the metadata view of a Secret has no values, in lists and in watches', async () => {
  const secrets = metadataOnly(SECRETS)
  await client.create(SECRETS, { metadata: key('hidden'), stringData: { password: 'open sesame' } }, call)
  const { items, resourceVersion } = await client.list(secrets, { namespace: 'default' }, call)
  const watch = client.watch(secrets, { namespace: 'default', resourceVersion, timeoutSeconds: 20, silenceMillis: 20_000 }, call)
  const event = watch.next()
  await client.patch(SECRETS, key('hidden'), { stringData: { password: 'sesame, open' } }, call)
  const seen = (await event).value
  await watch.return()
  const fields = (object: object) => Object.keys(object).toSorted()
  expect([items.map(fields), seen?.type, fields(seen?.object ?? {})]).toEqual([
    [['apiVersion', 'kind', 'metadata']],
    'MODIFIED',
    ['apiVersion', 'kind', 'metadata'],
  ])
})

test('a thousand calls, fifty at a time, take eight connections; one after another they take two at most', async () => {
  await using proxy = await openTcpProxy(port())
  await using through = openClient(await openKubeconfig(kubeconfigThrough(proxy, server.kubeconfig)))
  for (let count = 0; count < 50; count += 1) await through.get(NAMESPACES, { name: 'default' }, call)
  expect(proxy.accepted).toBeLessThanOrEqual(2)
  const some = async () => {
    for (let count = 0; count < 20; count += 1) await through.get(NAMESPACES, { name: 'default' }, call)
  }
  await Promise.all(Array.from({ length: 50 }, some))
  expect(proxy.accepted).toBe(8)
})

test('a call ends with its signal, and with its deadline when the server is frozen', async () => {
  const control = new AbortController()
  server.freeze()
  try {
    const aborted = client.get(NAMESPACES, { name: 'default' }, { signal: control.signal })
    control.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    expect(await failureOf(client.get(NAMESPACES, { name: 'default' }, { ...call, deadlineMillis: 300 }))).toEqual({
      kind: 'unavailable',
      reason: 'timeout',
    })
  } finally {
    server.thaw()
  }
  expect((await client.get(NAMESPACES, { name: 'default' }, call)).metadata.name).toBe('default')
})

test('a server that is down refuses, one with a certificate of another authority is not believed', async () => {
  await using other = await openApiServer()
  const mixed = `${server.kubeconfig}.mixed`
  await writeFile(mixed, (await readFile(server.kubeconfig, 'utf8')).replace(server.url, other.url))
  await using doubting = openClient(await openKubeconfig(mixed))
  expect(await failureOf(doubting.read('/version', call))).toEqual({ kind: 'unavailable', reason: 'tls' })
  await using stopped = openClient(await openKubeconfig(other.kubeconfig))
  await other.stop()
  expect(await failureOf(stopped.read('/version', call))).toEqual({ kind: 'unavailable', reason: 'refused' })
})

test('a rotated token is used by the very call that was refused with the old one', async () => {
  await client.create(SERVICE_ACCOUNTS, { metadata: key('rotated') }, call)
  const directory = await mkdtemp(join(tmpdir(), 'token-'))
  try {
    await cp(server.caFile, join(directory, 'ca.crt'))
    await writeFile(join(directory, 'namespace'), 'default')
    await writeFile(join(directory, 'token'), 'an old token')
    const { hostname, port: number } = new URL(server.url)
    const environment = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: number }
    await using pod = openClient(await openInCluster(environment, directory))
    const whoAmI = () => failureOf(pod.get(NAMESPACES, { name: 'default' }, call))
    expect(await whoAmI()).toEqual({ kind: 'unauthorized' })
    await writeFile(
      join(directory, '.new'),
      await runCommand([binary('kubectl'), '--kubeconfig', server.kubeconfig, 'create', 'token', 'rotated']),
    )
    await rename(join(directory, '.new'), join(directory, 'token'))
    expect(await whoAmI()).toEqual({ kind: 'forbidden' })
  } finally {
    await rm(directory, { recursive: true })
  }
})
