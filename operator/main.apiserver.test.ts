import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { type Client, openClient } from '#kube/client.ts'
import { openKubeconfig } from '#kube/config.ts'
import * as kube from '#kube/resources.ts'
import { nodeAddress, pool, secret, stream } from '#test/builders/manifests.ts'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { binary, ensureBinaries } from '#test/cluster/binaries.ts'
import { runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { WATCHED } from './fleet.ts'

/**
 * The whole operator as a process, with the rights that the chart gives it and no more, against a real API server without nodes: what it makes of a pool and a
 * stream, what it does at rest (nothing), and who leads when one of two is killed. The tests follow one another.
 */

const SYSTEM = 'mtafleet-system'
const MAIL = 'mail'
const OPERATOR_USER = `system:serviceaccount:${SYSTEM}:mtafleet-operator`
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 40_000, everyMillis: 50 }

let server: ApiServer
let admin: Client
let kubeconfig: string
const running: Replica[] = []

beforeAll(async () => {
  await ensureBinaries(['kubectl', 'helm'])
  server = await openApiServer()
  admin = openClient(await openKubeconfig(server.kubeconfig))
  for (const name of [SYSTEM, MAIL]) await admin.create(kube.NAMESPACES, { metadata: { name } }, call)
  const chart = await runCommand([
    binary('helm'),
    'template',
    'mtafleet',
    join(import.meta.dirname, '../charts/mtafleet'),
    '--namespace',
    SYSTEM,
  ])
  await runCommand([binary('kubectl'), '--kubeconfig', server.kubeconfig, 'apply', '--server-side', '-f', '-'], { input: chart })
  await Promise.all(['sendingstreams', 'ippools', 'mtainstances'].map(established))
  await createSurroundings()
  kubeconfig = await server.kubeconfigFor(OPERATOR_USER, ['system:serviceaccounts', `system:serviceaccounts:${SYSTEM}`])
})
afterAll(async () => {
  for (const replica of running) await replica.kill('SIGKILL')
  await admin[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

async function established(plural: string): Promise<void> {
  await watchFor(
    `${plural} to be served`,
    async () => {
      const found = await admin.find(kube.CUSTOM_RESOURCE_DEFINITIONS, { name: `${plural}.mtafleet.io` }, call)
      const { conditions = [] } = (found?.['status'] ?? {}) as { readonly conditions?: readonly { type: string; status: string }[] }
      return conditions.some(({ type, status }) => type === 'Established' && status === 'True') ? true : undefined
    },
    patience,
  )
}

/** What a cluster with one node has. */
async function createSurroundings(): Promise<void> {
  await admin.create(
    kube.NODES,
    {
      metadata: { name: 'node1', labels: { 'kubernetes.io/hostname': 'node1' } },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    },
    call,
  )
  // Every new node is tainted as not ready, until the node controller has seen it well; here is none.
  await admin.patch(kube.NODES, { name: 'node1' }, { spec: { taints: null } }, call)
  await admin.create(
    kube.STORAGE_CLASSES,
    { metadata: { name: 'local-ssd' }, provisioner: 'kubernetes.io/no-provisioner', volumeBindingMode: 'WaitForFirstConsumer' },
    call,
  )
  const { metadata, ...users } = secret('submission-users', { client: 'scrypt$…' })
  await admin.create(kube.SECRETS, { ...users, metadata: { ...metadata, namespace: MAIL } }, call)
}

const inMail = <T>(manifest: object): T => ({ ...manifest, metadata: { ...(manifest as kube.KubeObject).metadata, namespace: MAIL } }) as T

type Line = { readonly msg: string; readonly level: string; readonly [field: string]: unknown }
type Replica = {
  readonly name: string
  readonly lines: Line[]
  /** Waits for a line of the log. */
  says(msg: string): Promise<Line>
  kill(signal: NodeJS.Signals): Promise<number | null>
}

function start(name: string): Replica {
  const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], {
    env: {
      KUBECONFIG: kubeconfig,
      OPERATOR_NAMESPACE: SYSTEM,
      POD_NAME: name,
      AGENT_IMAGE: 'mtafleet:test',
      HTTP_HOST: '127.0.0.1',
      HTTP_PORT: '0',
      LEASE_DURATION_SECONDS: '4',
      RENEW_DEADLINE_SECONDS: '3',
      RETRY_PERIOD_SECONDS: '1',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: Line[] = []
  if (child.stdout) createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line) as Line))
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const replica: Replica = {
    name,
    lines,
    says: (msg) =>
      watchFor(
        `${name} to say '${msg}'`,
        () => lines.find((line) => line.msg === msg),
        patience,
        () => JSON.stringify(lines),
      ),
    kill: async (signal) => {
      child.kill(signal)
      return exited
    },
  }
  running.push(replica)
  return replica
}

const namesOf = async (of: kube.Resource): Promise<string[]> =>
  (await admin.list(of, { namespace: MAIL }, call)).items.map(({ metadata }) => metadata.name)

/** Kind → names, of everything that the operator makes. */
async function children(): Promise<Readonly<Record<string, readonly string[]>>> {
  const kinds = [
    'MTAInstance',
    'Pod',
    'PersistentVolumeClaim',
    'Service',
    'ServiceAccount',
    'Role',
    'RoleBinding',
    'PodDisruptionBudget',
  ] as const
  return Object.fromEntries(await Promise.all(kinds.map(async (kind) => [kind, await namesOf(WATCHED[kind] as kube.Resource)] as const)))
}

const conditionsOf = ({ status }: SendingStream | MTAInstance | IPPool): Readonly<Record<string, string>> =>
  Object.fromEntries((status?.conditions ?? []).map(({ type, status: is, reason }) => [type, `${is} ${reason}`]))

type AuditEvent = {
  readonly verb: string
  readonly user: { readonly username: string }
  readonly requestURI: string
  readonly objectRef?: { readonly resource: string; readonly name?: string }
}
async function audited(since: number): Promise<readonly AuditEvent[]> {
  const text = await readFile(server.auditLogFile, 'utf8')
  const whole = text.slice(since).split('\n').slice(0, -1)
  return whole.map((line) => JSON.parse(line) as AuditEvent).filter(({ user }) => user.username === OPERATOR_USER)
}

let first: Replica
let second: Replica

test('a replica starts, fills its caches, leads and is ready', async () => {
  first = start('operator-1')
  const { port } = await first.says('started')
  await first.says('leading')
  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${String(port)}${path}`)).text()
  expect([await ask('/livez'), await ask('/readyz'), (await ask('/metrics')).includes('mtafleet_leader 1')]).toEqual(['ok\n', 'ok\n', true])
})

test('a missing Secret is said, and its appearance noticed', async () => {
  const addresses = [nodeAddress(1, 1), nodeAddress(1, 2)]
  await admin.create(WATCHED.IPPool, inMail<IPPool>(pool('welcome', { addresses })), call)
  await admin.create(WATCHED.SendingStream, inMail<SendingStream>(stream('welcome')), call)
  const secrets = async (is: string) => {
    const found = await admin.find(WATCHED.MTAInstance, { namespace: MAIL, name: 'welcome-0-a' }, call)
    return found !== undefined && conditionsOf(found)['SecretsFound'] === is ? true : undefined
  }
  await watchFor('the Secret to be missed', () => secrets('False SecretNotFound'), patience)
  const { metadata, ...tls } = secret('submission-tls', { 'tls.crt': 'certificate', 'tls.key': 'key' }, 'kubernetes.io/tls')
  await admin.create(kube.SECRETS, { ...tls, metadata: { ...metadata, namespace: MAIL } }, call)
  expect(await watchFor('the Secret to be found', () => secrets('True Found'), patience)).toBe(true)
})

test('with it, pool and stream have become an instance and all that it needs', async () => {
  const wanted = {
    MTAInstance: ['welcome-0-a'],
    Pod: ['welcome-0-a'],
    PersistentVolumeClaim: ['welcome-0-a-queue'],
    Service: ['welcome-submission'],
    ServiceAccount: ['welcome-agent'],
    Role: ['welcome-agent'],
    RoleBinding: ['welcome-agent'],
    PodDisruptionBudget: ['welcome-agent'],
  }
  const found = await watchFor(
    'everything to be there',
    async () => {
      const now = await children()
      return Object.values(now).every((names) => names.length > 0) ? now : undefined
    },
    patience,
    async () => JSON.stringify([await children(), first.lines.filter(({ level }) => level === 'warn')]),
  )
  expect(found).toEqual(wanted)
})

test('all three kinds say how they are', async () => {
  const of = async <T extends SendingStream | IPPool | (MTAInstance & kube.KubeObject)>(
    kind: kube.Resource<T & kube.KubeObject>,
    name: string,
  ) => conditionsOf(await admin.get(kind, { namespace: MAIL, name }, call))
  const facts = async () => ({
    pool: (await of(WATCHED.IPPool, 'welcome'))['Ready'],
    stream: (await of(WATCHED.SendingStream, 'welcome'))['PoolAccepted'],
    instance: (await of(WATCHED.MTAInstance, 'welcome-0-a'))['AddressesAssigned'],
  })
  await watchFor(
    'all to say it',
    async () => (Object.values(await facts()).every((fact) => fact?.startsWith('True') === true) ? true : undefined),
    patience,
    async () => JSON.stringify(await facts()),
  )
  expect(Object.keys(await facts())).toEqual(['pool', 'stream', 'instance'])
})

test('at rest it writes nothing but the lease, and lists nothing', async () => {
  second = start('operator-2')
  await second.says('caches filled')
  const quiet = async () => {
    const { length } = await readFile(server.auditLogFile, 'utf8')
    await new Promise((resolve) => setTimeout(resolve, 10_000))
    return audited(length)
  }
  const events = await quiet()
  expect(
    events
      .map(({ verb, objectRef }) => `${verb} ${objectRef?.resource ?? ''}`)
      // A watch that the server ended and that begins anew is neither a write nor a list.
      .filter((what) => what !== 'update leases' && what !== 'get leases' && !what.startsWith('watch ')),
  ).toEqual([])
  expect(events.length).toBeGreaterThan(0)
})

test('of two replicas one leads; when it is killed the other follows and goes on with the work', async () => {
  expect(second.lines.some(({ msg }) => msg === 'leading')).toBe(false)
  await first.kill('SIGKILL')
  await second.says('leading')
  await admin.patch(WATCHED.SendingStream, { namespace: MAIL, name: 'welcome' }, { spec: { primaries: 2 } }, call)
  await watchFor(
    'the second instance',
    async () => ((await namesOf(WATCHED.MTAInstance as kube.Resource)).length === 2 ? true : undefined),
    patience,
  )
  expect(await namesOf(WATCHED.MTAInstance as kube.Resource)).toEqual(['welcome-0-a', 'welcome-1-a'])
})

test('an API server that is away for longer than the lease ends nobody', async () => {
  await server.stop()
  await second.says('lead lost')
  await server.start()
  await watchFor('the lead again', () => (second.lines.filter(({ msg }) => msg === 'leading').length === 2 ? true : undefined), patience)
  await admin.patch(WATCHED.SendingStream, { namespace: MAIL, name: 'welcome' }, { spec: { primaries: 1 } }, call)
  await watchFor(
    'the surplus instance to drain or go',
    async () => {
      const surplus = await admin.find(WATCHED.MTAInstance, { namespace: MAIL, name: 'welcome-1-a' }, call)
      return surplus === undefined || surplus.spec.mode === 'Drain' ? true : undefined
    },
    patience,
  )
  expect(second.lines.filter(({ level }) => level === 'fatal')).toEqual([])
})

test('told to stop, it releases the lease and ends with 0; the next one leads at once', async () => {
  const third = start('operator-3')
  await third.says('lease')
  expect(await second.kill('SIGTERM')).toBe(0)
  const stopped = performance.now()
  await third.says('leading')
  expect(performance.now() - stopped).toBeLessThan(3000)
})

test('no line of any log was an error or a defect', () => {
  const bad = running
    .flatMap(({ lines }) => lines)
    .filter(({ level, error }) => level === 'error' || level === 'fatal' || JSON.stringify(error ?? {}).includes('stack'))
  expect(bad).toEqual([])
})
