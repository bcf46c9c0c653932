import { freePort } from '#test/support/free-port.ts'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { API_VERSION, GROUP, RESOURCES, VERSION } from '#crds/group.ts'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import { openClient, type Client } from '#kube/client.ts'
import { openKubeconfig } from '#kube/config.ts'
import { CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, resource, ROLE_BINDINGS, ROLES, type AnyObject } from '#kube/resources.ts'
import { openApiServer, type ApiServer } from '#test/cluster/api-server.ts'
import { waitFor } from '#test/support/wait.ts'
import { parseTranscript, play } from '#test/conversations/play.ts'
import { runAgent } from './agent.ts'
import { openInstanceClient } from './instance-client.ts'

/** The agent with its own MTAInstance at a real API server, with the access its Role gives and nothing more. */

const INSTANCES = resource<MTAInstance>({
  group: GROUP,
  version: VERSION,
  kind: 'MTAInstance',
  plural: RESOURCES.MTAInstance,
  namespaced: true,
})
const KEY = { namespace: 'mail', name: 'news-0-a' }
const USER = 'system:serviceaccount:mail:news-agent'
const call = { signal: new AbortController().signal }

let server: ApiServer
let admin: Client
let directory: string

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mtafleet-agent-'))
  server = await openApiServer()
  admin = openClient(await openKubeconfig(server.kubeconfig))
  await admin.create(NAMESPACES, { metadata: { name: KEY.namespace } }, call)
  const definition = parse(readFileSync(new URL('../crds/mtainstances.yaml', import.meta.url), 'utf8')) as AnyObject
  await admin.create(CUSTOM_RESOURCE_DEFINITIONS, definition, call)
  await waitFor('the definition', () => admin.list(INSTANCES, { namespace: KEY.namespace }, call))
  const resourceNames = [KEY.name]
  const rules = [
    { apiGroups: [GROUP], resources: [RESOURCES.MTAInstance], resourceNames, verbs: ['get', 'list', 'watch'] },
    { apiGroups: [GROUP], resources: [`${RESOURCES.MTAInstance}/status`], resourceNames, verbs: ['patch'] },
  ]
  const metadata = { namespace: KEY.namespace, name: 'news-agent' }
  await admin.create(ROLES, { metadata, rules }, call)
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'news-agent' }
  await admin.create(
    ROLE_BINDINGS,
    { metadata, roleRef, subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: USER }] },
    call,
  )
  await admin.create(INSTANCES, { apiVersion: API_VERSION, kind: 'MTAInstance', metadata: KEY, spec: await spec() }, call)
})
afterAll(async () => {
  await admin[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

async function spec(): Promise<MTAInstanceSpec> {
  const example = parse(readFileSync(new URL('../examples/agent-alone.yaml', import.meta.url), 'utf8')) as { spec: MTAInstanceSpec }
  const [submission, submissions, adminPort] = [await freePort(), await freePort(), await freePort()]
  return {
    ...example.spec,
    addresses: [{ address: '192.0.2.1', hostName: 'mta.example.com' }],
    ports: { submission, submissions, admin: adminPort },
    directories: { queue: join(directory, 'queue') },
  }
}

type Running = AsyncDisposable & { readonly messages: string[]; readonly ended: Promise<void> }

async function startAgent(uid: string): Promise<Running> {
  const messages: string[] = []
  const write = (line: string) => void messages.push((JSON.parse(line) as { msg: string }).msg)
  const log = pino({ level: 'info' }, { write })
  const source = { kind: 'cluster', ...KEY, uid, queueDirectory: join(directory, 'queue') } as const
  const client = openInstanceClient(await openKubeconfig(await server.kubeconfigFor(USER)), source, log)
  const [stop, force] = [new AbortController(), new AbortController()]
  const ended = runAgent({
    source: client,
    host: { hostName: 'node', podAddress: '127.0.0.1', place: 'pod' },
    log,
    version: '0.1.0',
    graceMillis: 5_000,
    stop: stop.signal,
    force: force.signal,
    onBroken: () => {},
  })
  return {
    messages,
    ended,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await ended
      await client[Symbol.asyncDispose]()
    },
  }
}

const read = () => admin.get(INSTANCES, KEY, call)
const conditionOf = (instance: MTAInstance, type: string) => {
  const found = instance.status?.conditions?.find((condition) => condition.type === type)
  return found && `${found.status} ${found.reason} ${found.observedGeneration}`
}

async function submit(): Promise<string[]> {
  const port = (await readPorts()).submission
  const transcript = `# mail
S: 220 …
C: EHLO client.example
S: 250-…
S: 250 …
C: MAIL FROM:<a@example.com>
C: RCPT TO:<b@example.org>
C: DATA
S: 250 …
S: 250 …
S: 354 …
C: Subject: x
C: 
C: .
S: 250 2.0.0 queued as …`
  return await play(parseTranscript(transcript), { port, security: 'clear', stored: () => [], act: () => Promise.resolve() })
}
let ports: MTAInstanceSpec['ports'] | undefined
/** Read once: an agent without an API server has them too. */
const readPorts = async () => (ports ??= (await read()).spec.ports)

/** Writes of the agent that the API server has seen. */
const writes = () =>
  readFileSync(server.auditLogFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes(USER) && line.includes('"verb":"patch"') && line.includes('"stage":"ResponseComplete"')).length

test('reports, follows changes without restart, and is silent at rest', async () => {
  const { metadata } = await read()
  await using agent = await startAgent(metadata.uid!)
  const first = await waitFor('the first report', async () => {
    const instance = await read()
    return instance.status?.agent !== undefined && instance
  })
  expect(first.status?.agent).toMatchObject({ observedGeneration: 1, addresses: ['192.0.2.1'], version: '0.1.0' })
  expect(['Accepting', 'AddressesPresent', 'Delivering', 'Drained'].map((type) => conditionOf(first, type))).toEqual([
    'True Accepting 1',
    'False AddressesMissing 1',
    'False NoAddress 1',
    'False NotDraining 1',
  ])
  await admin.patch(INSTANCES, KEY, { spec: { mode: 'Drain' } }, call)
  await waitFor('Drained', async () => conditionOf(await read(), 'Drained') === 'True QueueEmpty 2')
  await admin.patch(INSTANCES, KEY, { spec: { mode: 'Run' } }, call)
  await waitFor('accepting again', async () => conditionOf(await read(), 'Accepting') === 'True Accepting 3')
  expect(await submit()).toEqual([])
  await waitFor('the queue in the status', async () => (await read()).status?.agent?.queue?.messages === 1)
  const settled = writes()
  expect(settled).toBeGreaterThanOrEqual(4)
  await new Promise((resolve) => setTimeout(resolve, 12_000))
  expect([writes() - settled, agent.messages.filter((message) => message === 'report not written')]).toEqual([0, []])
})

test('an outage of the API server stops no mail, and a new process starts without it', async () => {
  const { metadata } = await read()
  {
    await using agent = await startAgent(metadata.uid!)
    await waitFor('ready', () => agent.messages.includes('ready'))
    await server.stop()
    expect(await submit()).toEqual([])
  }
  {
    await using agent = await startAgent(metadata.uid!)
    await waitFor('ready', () => agent.messages.includes('ready'))
    expect(agent.messages).toContain('starting with the kept document')
    expect(await submit()).toEqual([])
    await server.start()
    await waitFor('the report', async () => (await read()).status?.agent?.queue?.messages === 3, { withinMillis: 50_000 })
  }
})

test('without the API server, the kept document of another instance is not used', async () => {
  await server.stop()
  const agent = await startAgent('another-uid')
  await waitFor('waiting', () => agent.messages.includes('waiting for the API server'))
  await agent[Symbol.asyncDispose]()
  expect(agent.messages).toEqual(['no kept document', 'waiting for the API server'])
  await server.start()
})
