import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { ensureBinaries } from '#test/cluster/binaries.ts'
import { watchFor } from '#test/support/wait.ts'
import { installApi, type Kubectl, kubectl } from '#test/manifests/manifests.ts'
import { find, render } from './helm.ts'

/**
 * The operator itself, with the environment and the rights that the chart gives it and no others: what the chart forgets shows here as a
 * refusal in the API server's audit log. There is no kubelet, so the Pod stays where it was made.
 */

const OPERATOR = 'system:serviceaccount:mtafleet-system:mtafleet-operator'

let server: ApiServer
let call: Kubectl

beforeAll(async () => {
  await ensureBinaries(['kubectl', 'helm'])
  server = await openApiServer()
  call = kubectl(server.kubeconfig)
  await call(['create', 'namespace', 'mtafleet-system'])
  const rbac = (await render()).filter(({ apiVersion, kind }) => apiVersion.startsWith('rbac') || kind === 'ServiceAccount')
  await call(['apply', '--filename', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: rbac }))
  await installApi(call)
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
})

type Variable = { readonly name: string; readonly value?: string }

/** As the kubelet would give them to the container. */
async function environment(): Promise<Record<string, string>> {
  const deployment = find(await render(['logLevel="Debug"']), 'Deployment', 'mtafleet-operator') as unknown as {
    readonly spec: { readonly template: { readonly spec: { readonly containers: readonly [{ readonly env: readonly Variable[] }] } } }
  }
  const fields: Record<string, string> = { OPERATOR_NAMESPACE: 'mtafleet-system', POD_NAME: 'mtafleet-operator-0' }
  return Object.fromEntries(
    deployment.spec.template.spec.containers[0].env.map(({ name, value }): [string, string] => [name, value ?? fields[name] ?? '']),
  )
}

/** What a cluster has before the operator comes: a node, a volume on it, the Secrets of the stream. */
const GROUND = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1', labels: { 'kubernetes.io/hostname': 'node1' } } },
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'local-ssd' },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'node1-a' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: 'local-ssd',
        local: { path: '/ssd/a' },
        nodeAffinity: {
          required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node1'] }] }] },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: 'submission-tls', namespace: 'mail' },
      stringData: { 'tls.crt': 'x', 'tls.key': 'x' },
    },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'submission-users', namespace: 'mail' }, stringData: { alice: 'x' } },
  ],
}

/** `stop` resolves to the exit status. */
type Operator = AsyncDisposable & { readonly log: readonly string[]; stop(): Promise<number | null> }

async function startOperator(): Promise<Operator> {
  const env = { ...(await environment()), KUBECONFIG: await server.kubeconfigFor(OPERATOR), HTTP_HOST: '127.0.0.1', HTTP_PORT: '0' }
  const child = spawn(process.execPath, ['operator/main.ts'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit') as Promise<[number | null]>
  const stop = async (): Promise<number | null> => {
    child.kill('SIGTERM')
    return (await ended)[0]
  }
  const log: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => log.push(line))
  return {
    log,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
    },
  }
}

type Asked = {
  readonly user: { readonly username: string }
  readonly verb: string
  readonly requestURI: string
  readonly objectRef?: { readonly resource: string; readonly subresource?: string }
  readonly responseStatus?: { readonly code: number }
}

const askedByOperator = (): Asked[] =>
  readFileSync(server.auditLogFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Asked)
    .filter(({ user }) => user.username === OPERATOR)

const refusedToOperator = (): string[] =>
  askedByOperator()
    .filter(({ responseStatus }) => [401, 403].includes(responseStatus?.code ?? 0))
    .map(({ verb, requestURI }) => `${verb} ${requestURI}`)

/** `verb resource`, as RBAC sees it: server-side apply of what is not there is a creation too. */
const usedByOperator = (): Set<string> =>
  new Set(
    askedByOperator().flatMap(({ verb, objectRef, responseStatus }) => {
      if (objectRef === undefined) return []
      const { resource, subresource } = objectRef
      const what = subresource === undefined ? resource : `${resource}/${subresource}`
      return [`${verb} ${what}`, ...(verb === 'patch' && responseStatus?.code === 201 ? [`create ${what}`] : [])]
    }),
  )

async function grantedToOperator(): Promise<string[]> {
  type Role = { readonly rules: readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[] }
  const roles = (await render(['rbac.aggregateClusterRoles=false'])).filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')
  const rules = (roles as unknown as readonly Role[]).flatMap((role) => role.rules)
  return [...new Set(rules.flatMap(({ resources, verbs }) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`))))]
}

/** Rights that the life of the one stream played here does not show. Whatever else is granted must be used, and what is used is granted. */
const NOT_SHOWN = [
  // The audit log leaves gets out; some of them are held so that they can be granted to agents.
  'get endpointslices',
  'get leases',
  'get mtainstances',
  'get persistentvolumeclaims',
  'get secrets',
  // Of shards with standbys: records and endpoints, which agents update, budgets, and the certificates between the copies.
  'create endpointslices',
  'delete endpointslices',
  'update endpointslices',
  'patch leases',
  'delete leases',
  'delete poddisruptionbudgets',
  'create secrets',
  'update secrets',
  'patch secrets',
  // An Event that repeats, a queue that grows, volumeRetention: DeleteWhenEmpty.
  'patch events',
  'patch persistentvolumeclaims',
  'delete persistentvolumeclaims',
]

test('the operator works with what the chart gives it, and is refused nothing', async () => {
  await call(['apply', '--filename', 'examples/00-namespace.yaml'])
  await call(['apply', '--filename', '-'], JSON.stringify(GROUND))
  // The API server gives it to every new node, and takes it away when a kubelet says that it is well.
  await call(['taint', 'node', 'node1', 'node.kubernetes.io/not-ready-'])
  await using operator = await startOperator()
  const within = { withinMillis: 30_000, everyMillis: 250 }
  const complaint = async (): Promise<string> =>
    `${await call(['--namespace', 'mail', 'describe', 'stream,mtai'])}\n${operator.log.slice(-5).join('\n')}`
  const names = async (...argv: readonly string[]): Promise<string> =>
    (await call(['--namespace', 'mail', 'get', ...argv, '--output=name'])).trim()

  await call(['apply', '--filename', 'examples/01-one-stream.yaml'])
  const made = [
    'pods',
    'persistentvolumeclaims',
    'services',
    'serviceaccounts',
    'roles',
    'rolebindings',
    'poddisruptionbudgets',
    'mtainstances',
  ]
  await watchFor('the Pod', async () => ((await names('pods')) === '' ? undefined : true), within, complaint)
  const own = (await names(made.join(','), '--selector=mtafleet.io/stream=password-resets')).split('\n')
  expect(own.map((name) => name.slice(0, name.indexOf('/'))).toSorted()).toEqual([
    'mtainstance.mtafleet.io',
    'persistentvolumeclaim',
    'pod',
    'poddisruptionbudget.policy',
    'role.rbac.authorization.k8s.io',
    'rolebinding.rbac.authorization.k8s.io',
    'service',
    'serviceaccount',
  ])
  for (const kind of ['stream', 'ipp', 'mtai']) {
    await call(['--namespace', 'mail', 'wait', kind, '--all', '--for=jsonpath={.status.observedGeneration}=1', '--timeout=20s'])
  }
  await watchFor('an Event', async () => ((await names('events.v1.events.k8s.io')) === '' ? undefined : true), within, complaint)

  await call(['--namespace', 'mail', 'delete', 'stream', 'password-resets', '--wait=false'])
  await watchFor('the stream to be gone', async () => ((await names('stream,mtai,pods')) === '' ? true : undefined), within, complaint)
  await call(['--namespace', 'mail', 'delete', 'ipp', 'password-resets', '--wait=false'])
  expect(await operator.stop()).toBe(0)
  expect(refusedToOperator()).toEqual([])
  const used = usedByOperator()
  expect((await grantedToOperator()).filter((right) => !used.has(right)).toSorted()).toEqual(NOT_SHOWN.toSorted())
})
