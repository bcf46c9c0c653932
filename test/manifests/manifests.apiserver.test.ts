import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { ensureBinaries } from '#test/cluster/binaries.ts'
import { watchFor } from '#test/support/wait.ts'
import { installApi, type Kubectl, kubectl, type ManifestCase, readCases, refusal } from './manifests.ts'

let server: ApiServer
let call: Kubectl

beforeAll(async () => {
  await ensureBinaries(['kubectl'])
  server = await openApiServer()
  call = kubectl(server.kubeconfig)
  await installApi(call)
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
})

/** A namespace of its own. */
async function openCase(one: ManifestCase): Promise<string> {
  const namespace = one.name.slice(0, 63)
  await call(['create', 'namespace', namespace])
  return namespace
}

/** With every right, so that it is never for lack of one that something is refused. */
const scopeOf = (namespace: string, user: string | undefined): string[] => [
  '--namespace',
  namespace,
  ...(user === undefined ? [] : [`--as=${user}`, '--as-group=system:masters']),
]

const apply = (scope: readonly string[], document: string): Promise<string> => call([...scope, 'apply', '--filename', '-'], document)

describe('what is right is accepted', () => {
  test.each(readCases('right'))('$name', async (one) => {
    const scope = scopeOf(await openCase(one), one.as)
    for (const document of one.documents) {
      expect(await apply(scope, document)).toMatch(/ (created|configured)\n$/)
    }
  })

  test('two pools of 1024 addresses each', async () => {
    const pool = (number: number): string =>
      JSON.stringify({
        apiVersion: 'mtafleet.io/v1alpha1',
        kind: 'IPPool',
        metadata: { name: `large-${number}` },
        spec: {
          allowedClasses: ['Marketing'],
          addresses: Array.from({ length: 1024 }, (_, index) => ({
            address: `10.${number}.${index >> 8}.${index & 255}`,
            hostName: `mta-${index}.senders.example`,
            nodeName: `node-${index}`,
          })),
        },
      })
    expect(await call(['apply', '--filename', '-'], pool(1))).toBe('ippool.mtafleet.io/large-1 created\n')
    expect(await call(['apply', '--filename', '-'], pool(2))).toBe('ippool.mtafleet.io/large-2 created\n')
    const again = pool(1).replace('large-1', 'large-3')
    const said = await watchFor('the refusal', () => refusal(call, ['apply', '--dry-run=server', '--filename', '-'], again), {
      withinMillis: 10_000,
    })
    expect(said).toContain('10.1.0.0 (and 1023 more) was already in IPPool "large-1"')
  })
})

const WRONG = readCases('wrong')

describe('what is wrong is refused, and the message says what must be and what was', () => {
  test('there are enough of them, and each says what it expects', () => {
    expect(WRONG.length).toBeGreaterThanOrEqual(40)
    expect(WRONG.filter((one) => one.expect.length === 0).map((one) => one.name)).toEqual([])
  })

  test.each(WRONG)('$name', async (one) => {
    const namespace = await openCase(one)
    for (const document of one.documents.slice(0, -1)) await apply(scopeOf(namespace, one.before ?? one.as), document)
    const scope = scopeOf(namespace, one.as)
    const attempt = (): Promise<string | undefined> =>
      refusal(call, [...scope, one.isDeletion ? 'delete' : 'apply', '--dry-run=server', '--filename', '-'], one.documents.at(-1)!)
    // An admission policy sees the objects of a moment ago; without earlier documents the first answer counts.
    const said =
      one.documents.length === 1 ? await attempt() : await watchFor('the refusal', attempt, { withinMillis: 10_000, everyMillis: 200 })
    expect(one.expect.filter((part) => !said?.includes(part)).map((part) => `${part} in: ${said}`)).toEqual([])
  })
})

describe('the policies leave the cluster its own work', () => {
  const OPERATOR = 'system:serviceaccount:mtafleet-system:mtafleet-operator'
  const CONTROLLERS = ['generic-garbage-collector', 'namespace-controller'].map((name) => `system:serviceaccount:kube-system:${name}`)
  const documents = (name: string): readonly string[] => readCases('wrong').find((one) => one.name === name)!.documents

  beforeAll(async () => {
    await call(['create', 'namespace', 'cluster-work'])
    await apply(scopeOf('cluster-work', OPERATOR), documents('instance-made-by-a-person')[0]!)
    for (const document of documents('pool-deleted-while-in-use').slice(0, 2)) await apply(scopeOf('cluster-work', undefined), document)
  })

  test.each([...CONTROLLERS, 'system:kube-controller-manager', OPERATOR])('%s may delete an MTAInstance', async (user) => {
    const argv = [...scopeOf('cluster-work', user), 'delete', '--dry-run=server', 'mtai', 'password-resets-0-a']
    expect(await refusal(call, argv)).toBeUndefined()
  })

  test('whoever has lost a node for good can delete what was on it, once he has named it', async () => {
    const scope = scopeOf('cluster-work', 'jane')
    const deletion = () => refusal(call, [...scope, 'delete', '--dry-run=server', 'mtai', 'password-resets-0-a'])
    expect(await deletion()).toContain('annotate it with mtafleet.io/node-lost=node1 first')
    await call([...scope, 'annotate', 'mtai', 'password-resets-0-a', 'mtafleet.io/node-lost=node1'])
    expect(await deletion()).toBeUndefined()
  })

  test('a namespace goes with the pools that are in use in it', async () => {
    const argv = ['delete', '--dry-run=server', 'ipp', 'transactional']
    expect(await refusal(call, [...scopeOf('cluster-work', CONTROLLERS[1]), ...argv])).toBeUndefined()
    expect(
      await watchFor('the refusal', () => refusal(call, [...scopeOf('cluster-work', 'jane'), ...argv]), { withinMillis: 10_000 }),
    ).toContain('must stay while SendingStream')
  })

  test('an agent reports, and whoever removes the operator can remove its finalizers', async () => {
    const patch = (value: object, ...argv: readonly string[]): Promise<string | undefined> =>
      refusal(call, [
        ...[...scopeOf('cluster-work', 'jane'), 'patch', 'mtai', 'password-resets-0-a', '--type=merge', ...argv],
        `--patch=${JSON.stringify(value)}`,
      ])
    expect(await patch({ status: { podName: 'password-resets-0-a' } }, '--subresource=status')).toBeUndefined()
    expect(await patch({ metadata: { finalizers: ['mtafleet.io/drain'] } })).toBeUndefined()
    expect(await patch({ metadata: { finalizers: null } })).toBeUndefined()
    expect(await patch({ spec: { mode: 'Hold' } })).toContain('must be written by the operator alone, was UPDATE by "jane"')
  })
})

describe('kubectl', () => {
  test.each([
    ['sendingstream.spec', ['What the stream shall be.', 'poolRef\t<Object> -required-', 'Cannot change.']],
    ['sendingstream.spec.submission.allowedNetworks', ['Networks (CIDR) whose clients may submit without AUTH.']],
    ['ippool.spec.addresses.hostName', ['The name said in EHLO.', 'FCrDNS']],
    ['mtainstance', ['One running MTA.', 'change that one instead']],
  ])('explain %s shows what it means', async (field, parts) => {
    const said = (await call(['explain', field])).replaceAll(/\s*\n\s+/g, ' ')
    expect(parts.filter((part) => !said.includes(part)).map((part) => `${part} in: ${said}`)).toEqual([])
  })

  test.each(['stream', 'ipp', 'mtai', 'mtafleet'])('get %s finds our kinds by their short name or category', async (name) => {
    expect(await call(['get', name, '--namespace', 'kube-system'])).toBe('')
  })

  test('get shows whether it is well, where it is and how much waits', async () => {
    await call(['create', 'namespace', 'columns'])
    const scope = ['--namespace', 'columns']
    const stream = readCases('right').find(({ name }) => name === 'stream-everything')!
    await apply(scope, stream.documents[0]!)
    const status = {
      status: {
        conditions: [
          {
            type: 'Ready',
            status: 'False',
            reason: 'PoolMissing',
            message: 'There is no IPPool "transactional".',
            lastTransitionTime: '2026-01-01T00:00:00Z',
          },
        ],
        replicas: 1,
        readyReplicas: 0,
        selector: 'mtafleet.io/stream=password-resets',
        queue: { messages: 7, recipients: 9, deferred: 3 },
      },
    }
    await call([
      ...scope,
      'patch',
      'stream',
      'password-resets',
      '--subresource=status',
      '--type=merge',
      `--patch=${JSON.stringify(status)}`,
    ])
    const [head, row] = (await call([...scope, 'get', 'stream'])).split('\n')
    expect(head?.split(/ {2,}/).map((word) => word.trim())).toEqual('NAME READY REASON CLASS POOL PRIMARIES UP QUEUED AGE'.split(' '))
    expect(row?.split(/ {2,}/).slice(0, 8)).toEqual('password-resets False PoolMissing Transactional transactional 1 0 7'.split(' '))
    await call([...scope, 'scale', 'stream', 'password-resets', '--replicas=3'])
    const scale = JSON.parse(await call([...scope, 'get', 'stream', 'password-resets', '--subresource=scale', '--output=json'])) as object
    expect(scale).toMatchObject({ spec: { replicas: 3 }, status: { replicas: 1, selector: 'mtafleet.io/stream=password-resets' } })
    const found = await call([...scope, 'get', 'stream', '--field-selector=spec.poolRef.name=transactional', '--output=name'])
    expect(found).toBe('sendingstream.mtafleet.io/password-resets\n')
  })
})
