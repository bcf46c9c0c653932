import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { ensureBinaries } from '#test/cluster/binaries.ts'
import { installApi, type Kubectl, kubectl, refusal } from '#test/manifests/manifests.ts'
import { CHART, find, helm, render, renderText, type Rendered } from './helm.ts'

let server: ApiServer
let call: Kubectl

beforeAll(async () => {
  await ensureBinaries(['kubectl', 'helm'])
  server = await openApiServer()
  call = kubectl(server.kubeconfig)
  await call(['create', 'namespace', 'mtafleet-system'])
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
})

type Rule = {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
  readonly resourceNames?: readonly string[]
}
const rulesOf = (object: Rendered): readonly Rule[] => (object['rules'] ?? []) as readonly Rule[]

describe('the chart', () => {
  test('passes helm lint --strict', async () => {
    expect(await helm(['lint', '--strict', CHART])).toContain('1 chart(s) linted, 0 chart(s) failed')
  })

  test.each<[string, string[]]>([
    ['with its own values', []],
    ['with everything on', ['networkPolicy.enabled=true', 'priorityClassName=""', 'nodeSelector={"a":"b"}', 'podAnnotations={"c":"d"}']],
    ['for one namespace', ['watchNamespaces=["default"]', 'replicas=1', 'imagePullSecrets=[{"name":"registry"}]']],
    ['without what others may bring', ['crds.enabled=false', 'admissionPolicies.enabled=false', 'rbac.aggregateClusterRoles=false']],
  ])('is accepted by the API server %s', async (_, sets) => {
    const said = await call(['apply', '--dry-run=server', '--filename', '-'], await renderText(sets))
    expect(
      said
        .trim()
        .split('\n')
        .filter((line) => !line.endsWith('created (server dry run)')),
    ).toEqual([])
  })

  test('keeps the definitions on uninstall', async () => {
    const definitions = (await render()).filter(({ kind }) => kind === 'CustomResourceDefinition')
    expect(definitions.map(({ metadata }) => [metadata.name, metadata.annotations])).toEqual(
      ['ippools', 'mtainstances', 'sendingstreams'].map((plural) => [`${plural}.mtafleet.io`, { 'helm.sh/resource-policy': 'keep' }]),
    )
  })

  test('names the service account of the release in the admission policy', async () => {
    const objects = await render(['serviceAccount.name="postmaster"'], 'elsewhere')
    const text = JSON.stringify(find(objects, 'ValidatingAdmissionPolicy', 'mtafleet-instance-owner'))
    expect(text).toContain('system:serviceaccount:elsewhere:postmaster')
    expect(text).not.toContain('system:serviceaccount:mtafleet-system:')
  })

  test('runs the operator without any privilege', async () => {
    const pod = (find(await render(), 'Deployment', 'mtafleet-operator') as unknown as { spec: { template: { spec: PodSpec } } }).spec
      .template.spec
    expect({ pod: pod.securityContext, container: pod.containers[0]?.securityContext, args: pod.containers[0]?.args }).toEqual({
      pod: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      container: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      args: ['operator'],
    })
  })

  test.each([
    ['its version', [], 'mtafleet:0.1.0'],
    ['a tag', ['image.repository="registry.example/mail/mtafleet"', 'image.tag="dev-1"'], 'registry.example/mail/mtafleet:dev-1'],
    ['a digest', ['image.tag="dev-1"', `image.digest="sha256:${'0'.repeat(64)}"`], `mtafleet@sha256:${'0'.repeat(64)}`],
  ])('takes the image by %s, for operator and agents', async (_, sets, image) => {
    const text = JSON.stringify(find(await render(sets), 'Deployment', 'mtafleet-operator'))
    expect([text.includes(`"image":"${image}"`), text.includes(`{"name":"AGENT_IMAGE","value":"${image}"}`)]).toEqual([true, true])
  })

  test("hands the names of the agents' pull secrets on", async () => {
    const text = JSON.stringify(find(await render(['agentImagePullSecrets=["registry","mirror"]']), 'Deployment', 'mtafleet-operator'))
    expect(text).toContain('{"name":"AGENT_IMAGE_PULL_SECRETS","value":"registry,mirror"}')
  })

  test.each([
    ['None', []],
    ['PodMonitor', ['PodMonitor mtafleet-operator']],
    ['ServiceMonitor', ['Service mtafleet-operator-metrics', 'ServiceMonitor mtafleet-operator']],
  ])('is scraped by %s', async (monitor, expected) => {
    const objects = await render([`metrics.monitor="${monitor}"`])
    const names = objects
      .filter(({ kind }) => kind.endsWith('Monitor') || kind === 'Service')
      .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
    expect(names.toSorted()).toEqual(expected)
  })

  test('tells what comes next', async () => {
    const said = await helm([
      'install',
      'mtafleet',
      CHART,
      '--namespace',
      'mtafleet-system',
      '--kubeconfig',
      server.kubeconfig,
      '--dry-run=client',
    ])
    expect(said).toContain('kubectl -n mail create secret tls submission-tls')
  })
})

type PodSpec = {
  readonly securityContext: object
  readonly containers: readonly { readonly args: readonly string[]; readonly securityContext: object }[]
}

describe('wrong values are refused with clear words', () => {
  test.each<[string, string]>([
    ['replica=3', "additional properties 'replica' not allowed"],
    ['metrics.enabled=true', "additional properties 'enabled' not allowed"],
    ['replicas=0', 'minimum: got 0, want 1'],
    ['replicas="2"', 'got string, want integer'],
    ['image="mtafleet:1"', 'got string, want object'],
    ['image.repository=""', "'' does not match pattern"],
    ['image.digest="sha256:12"', "'sha256:12' does not match pattern"],
    ['logLevel="debug"', "value must be one of 'Debug', 'Info', 'Warn', 'Error'"],
    ['watchNamespaces=["Mail"]', "'Mail' does not match pattern"],
    ['watchNamespaces="mail"', 'got string, want array'],
    ['metrics.monitor="Both"', "value must be one of 'None', 'PodMonitor', 'ServiceMonitor'"],
    ['portRange="20000"', "'20000' does not match pattern"],
    ['portRange="30000-20000"', 'portRange must be two ports from 1024 to 65535, the last at least 2 above the first, was 30000-20000'],
    ['portRange="20000-70000"', 'was 20000-70000'],
    [
      'leaderElection.renewDeadlineSeconds=15',
      'leaderElection.renewDeadlineSeconds must be less than leaseDurationSeconds, was 15 with 15',
    ],
    ['leaderElection.retryPeriodSeconds=10', 'leaderElection.retryPeriodSeconds must be less than renewDeadlineSeconds, was 10 with 10'],
  ])('%s', async (set, words) => {
    await expect(renderText([set])).rejects.toThrow(words)
  })
})

describe('access', () => {
  const OPERATOR = 'system:serviceaccount:mtafleet-system:mtafleet-operator'
  const may = async (namespace: string, verb: string, resource: string, ...rest: readonly string[]): Promise<string> => {
    const argv = ['auth', 'can-i', '--namespace', namespace, `--as=${OPERATOR}`, verb, resource, ...rest]
    return await call(argv).then(
      () => 'yes',
      (error: Error) => (error.message.includes('ended with status 1: no') ? 'no' : error.message),
    )
  }

  test.each<[string, string[]]>([
    ['for all namespaces', []],
    ['for one', ['watchNamespaces=["default"]']],
  ])('nothing is a wildcard, nothing may be passed on, and Secrets are read by name only: %s', async (_, sets) => {
    const objects = await render(sets)
    const roles = objects.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')
    const rules = roles.flatMap(rulesOf)
    const words = rules.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs])
    expect(
      words.filter((word) => word.includes('*') || ['escalate', 'bind', 'impersonate', 'deletecollection', 'pods/exec'].includes(word)),
    ).toEqual([])
    expect(rules.filter(({ resources }) => resources.includes('secrets'))).toEqual([
      { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'create', 'update', 'patch'] },
    ])
  })

  test('the operator may do its work in every namespace, and no more', async () => {
    const rbac = (await render()).filter(({ apiVersion, kind }) => apiVersion.startsWith('rbac') || kind === 'ServiceAccount')
    await call(['apply', '--filename', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: rbac }))
    await installApi(call)
    expect({
      'create pods': await may('default', 'create', 'pods'),
      'patch sendingstreams.mtafleet.io/status': await may('default', 'patch', 'sendingstreams.mtafleet.io', '--subresource=status'),
      'delete mtainstances.mtafleet.io': await may('default', 'delete', 'mtainstances.mtafleet.io'),
      'get secrets': await may('default', 'get', 'secrets'),
      'list secrets': await may('default', 'list', 'secrets'),
      'watch secrets': await may('default', 'watch', 'secrets'),
      'create secrets': await may('default', 'create', 'secrets'),
      'delete secrets': await may('default', 'delete', 'secrets'),
      'delete sendingstreams.mtafleet.io': await may('default', 'delete', 'sendingstreams.mtafleet.io'),
      'create pods/exec': await may('default', 'create', 'pods', '--subresource=exec'),
      'delete ippools.mtafleet.io': await may('default', 'delete', 'ippools.mtafleet.io'),
      'update its lease': await may('mtafleet-system', 'update', 'leases.coordination.k8s.io/mtafleet-operator'),
      'update the record of a shard': await may('default', 'update', 'leases.coordination.k8s.io/password-resets-0'),
      'deletecollection leases': await may('default', 'deletecollection', 'leases.coordination.k8s.io'),
    }).toEqual({
      'create pods': 'yes',
      'patch sendingstreams.mtafleet.io/status': 'yes',
      'delete mtainstances.mtafleet.io': 'yes',
      'get secrets': 'yes',
      'list secrets': 'no',
      'watch secrets': 'no',
      'create secrets': 'yes',
      'delete secrets': 'no',
      'delete sendingstreams.mtafleet.io': 'no',
      'create pods/exec': 'no',
      'delete ippools.mtafleet.io': 'no',
      'update its lease': 'yes',
      'update the record of a shard': 'yes',
      'deletecollection leases': 'no',
    })
  })

  test('the operator may grant agents what they need, and nothing that it has not', async () => {
    const role = (rule: Rule): string =>
      JSON.stringify({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'Role',
        metadata: { name: 'agent', namespace: 'default' },
        rules: [rule],
      })
    const grant = (rule: Rule): Promise<string | undefined> =>
      refusal(call, [`--as=${OPERATOR}`, 'apply', '--server-side', '--dry-run=server', '--filename', '-'], role(rule))
    const resourceNames = ['password-resets-0-a']
    const instances = { apiGroups: ['mtafleet.io'], resources: ['mtainstances'], resourceNames, verbs: ['get', 'list', 'watch'] }
    const status = { apiGroups: ['mtafleet.io'], resources: ['mtainstances/status'], resourceNames, verbs: ['patch'] }
    const named = ['password-resets-0']
    const shard = [
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: named, verbs: ['get', 'update'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], resourceNames: named, verbs: ['get', 'update'] },
      { apiGroups: [''], resources: ['persistentvolumeclaims'], resourceNames: ['password-resets-0-a-queue'], verbs: ['get'] },
    ]
    const granted: (string | undefined)[] = []
    for (const rule of [instances, status, ...shard]) granted.push(await grant(rule))
    expect(granted).toEqual([undefined, undefined, undefined, undefined, undefined])
    expect(await grant({ apiGroups: [''], resources: ['secrets'], verbs: ['list'] })).toContain(
      'attempting to grant RBAC permissions not currently held',
    )
  })

  test('people who may edit a namespace may edit streams, and its admins pools; nobody may edit instances', async () => {
    const verbs = async (name: string): Promise<string[]> =>
      rulesOf(find(await render(), 'ClusterRole', name)).flatMap(({ resources, verbs: all }) =>
        all.includes('create') ? resources.map((resource) => `create ${resource}`) : [],
      )
    expect([await verbs('mtafleet-view'), await verbs('mtafleet-edit'), await verbs('mtafleet-admin')]).toEqual([
      [],
      ['create sendingstreams'],
      ['create ippools'],
    ])
  })
})

test('uninstalling takes the operator away and leaves the streams', async () => {
  const own = await openApiServer()
  await using _ = own
  const ask = kubectl(own.kubeconfig)
  const scope = ['--namespace', 'mtafleet-system', '--kubeconfig', own.kubeconfig]
  await helm(['install', 'mtafleet', CHART, ...scope, '--create-namespace'])
  await ask(['wait', '--for=condition=Established', '--timeout=30s', 'crd/sendingstreams.mtafleet.io'])
  await ask(['create', 'namespace', 'mail'])
  await ask(['apply', '--filename', 'test/manifests/right/stream-smallest.yaml', '--namespace', 'mail'])
  await helm(['upgrade', 'mtafleet', CHART, ...scope, '--set', 'replicas=3'])
  expect(await ask(['get', 'deployment', '--namespace', 'mtafleet-system', '--output=jsonpath={.items[*].spec.replicas}'])).toBe('3')
  const elsewhere = ['--namespace', 'elsewhere', '--kubeconfig', own.kubeconfig, '--create-namespace']
  const bare = ['--set', 'crds.enabled=false', '--set', 'admissionPolicies.enabled=false', '--set', 'rbac.aggregateClusterRoles=false']
  for (const second of ['another', 'mtafleet']) {
    await expect(helm(['install', second, CHART, ...elsewhere, ...bare])).rejects.toThrow(
      'mtafleet must be installed once in a cluster, and is there already as release mtafleet in namespace mtafleet-system',
    )
  }
  await helm(['uninstall', 'mtafleet', ...scope])
  expect(await ask(['get', 'deployment', '--all-namespaces', '--output=name'])).toBe('')
  expect(await ask(['get', 'stream', '--all-namespaces', '--output=name'])).toBe('sendingstream.mtafleet.io/password-resets\n')
  // The definitions that stayed are taken up again.
  await helm(['install', 'mtafleet', CHART, ...scope])
  expect(await ask(['get', 'stream', '--all-namespaces', '--output=name'])).toBe('sendingstream.mtafleet.io/password-resets\n')
})

describe('examples', () => {
  test('apply as they are', async () => {
    await installApi(call)
    await call(['apply', '--filename', 'examples/00-namespace.yaml'])
    for (const file of ['01-one-stream.yaml', '02-two-streams.yaml', '03-hot-standby.yaml']) {
      expect(await call(['apply', '--filename', `examples/${file}`])).toMatch(/^(\S+ created\n){2}$/)
    }
  })

  test('the README speaks of each file', () => {
    const readme = readFileSync('examples/README.md', 'utf8')
    const files = readdirSync('examples').filter((name) => name.endsWith('.yaml'))
    expect(files.length).toBeGreaterThan(0)
    expect(files.filter((name) => !readme.includes(name))).toEqual([])
  })
})
