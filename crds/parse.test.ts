import { describe, expect, test } from 'vitest'
import { InvalidDocument, parseIPPool, parseMTAInstance, parseSendingStream } from './parse.ts'

const stream = (change: (spec: Record<string, unknown>) => unknown = () => ({})): Record<string, unknown> => {
  const spec: Record<string, unknown> = {
    class: 'Transactional',
    poolRef: { name: 'pool' },
    submission: { allowedNetworks: ['192.0.2.0/24'] },
    queue: { storageClassName: 'local-ssd', size: '1Gi' },
  }
  return {
    apiVersion: 'mtafleet.io/v1alpha1',
    kind: 'SendingStream',
    metadata: { name: 'password-resets' },
    spec: { ...spec, ...(change(spec) as object) },
  }
}

const instance = (change: object = {}): Record<string, unknown> => ({
  apiVersion: 'mtafleet.io/v1alpha1',
  kind: 'MTAInstance',
  metadata: { name: 'alone-0-a' },
  spec: {
    streamRef: { name: 'alone' },
    class: 'Transactional',
    shard: 0,
    addresses: [{ address: '127.0.0.1', hostName: 'mta.example.com' }],
    ports: { submission: 2587, submissions: 2465, admin: 0 },
    submission: { allowedNetworks: ['127.0.0.0/8'] },
    queue: {},
    directories: { queue: '/var/lib/queue' },
    ...change,
  },
})

/** What the parser says of the document, one entry for each problem. */
function problems(parse: (document: unknown) => unknown, document: unknown): string[] {
  try {
    parse(document)
    return []
  } catch (error) {
    if (!(error instanceof InvalidDocument)) throw error
    return error.problems.map(({ path, must }) => `${path}: ${must}`)
  }
}

test('defaults are filled in', () => {
  const { spec } = parseSendingStream(stream())
  expect({ ...spec, queue: spec.queue.maxAgeSeconds, submission: spec.submission.port }).toEqual({
    class: 'Transactional',
    poolRef: { name: 'pool' },
    primaries: 1,
    standbysPerPrimary: 0,
    failover: { timing: 'Default', durability: 'Available', nodeLossPolicy: 'Wait' },
    submission: 587,
    queue: 432000,
    delivery: { maxConnectionsPerDestination: 20, maxMessagesPerConnection: 100 },
    agent: { logLevel: 'Info' },
    stopPolicy: 'None',
  })
})

test('metadata of the API server is kept as it is', () => {
  const metadata = { name: 'alone-0-a', uid: 'u', generation: 3, finalizers: ['f'], labels: { a: 'b' } }
  expect(parseMTAInstance({ ...instance(), metadata }).metadata).toEqual(metadata)
})

test('what a newer API server sends is ignored, what a file misspells is not', () => {
  const document = instance({ newField: { a: 1 } })
  expect(problems(parseMTAInstance, document)).toEqual(['spec.newField: must be absent: there is no such field, was {"a":1}'])
  expect(problems((given) => parseMTAInstance(given, 'ignore'), document)).toEqual([])
})

describe('says what must be and what was', () => {
  test.each<[string, unknown, string[]]>([
    ['not an object', 'text', ['document: must be of type object, was "text"']],
    ['no spec', { ...stream(), spec: undefined }, ['spec: must be of type object, was missing']],
    ['another kind', { ...stream(), kind: 'IPPool' }, ['kind: must be SendingStream, was "IPPool"']],
    [
      'an unknown class',
      stream(() => ({ class: 'Bulk' })),
      ['spec.class: must be one of Transactional, Notification, Marketing, Cold, was "Bulk"'],
    ],
    ['a number out of bounds', stream(() => ({ primaries: 65 })), ['spec.primaries: must be at most 64, was 65']],
    ['half an instance', stream(() => ({ primaries: 1.5 })), ['spec.primaries: must be a whole number, was 1.5']],
    [
      'two faults at once',
      stream(() => ({ queue: { storageClassName: 'local-ssd', size: '1Mi', retrySeconds: [] } })),
      ['spec.queue.size: must be at least 64Mi, was "1Mi"', 'spec.queue.retrySeconds: must be at least 1 items long, was []'],
    ],
    [
      'equal ports',
      stream(() => ({ submission: { allowedNetworks: ['192.0.2.0/24'], implicitTlsPort: 587 } })),
      ['spec.submission.implicitTlsPort: submission.port and submission.implicitTlsPort must differ, both were 587'],
    ],
    [
      'the same route twice',
      stream(() => ({
        routes: [
          { domain: 'example.com', nextHop: { host: 'a' } },
          { domain: 'example.com', nextHop: { host: 'b' } },
        ],
      })),
      ['spec.routes[1]: domain must be unique, "example.com" was there twice'],
    ],
    [
      'a long name',
      { ...stream(), metadata: { name: 'a'.repeat(41) } },
      [
        `metadata.name: metadata.name must be a lower-case DNS label of at most 40 characters that begins with a letter, was "${'a'.repeat(41)}"`,
      ],
    ],
    [
      'more requested than allowed',
      stream(() => ({ agent: { resources: { requests: { memory: '1Gi', cpu: '1' }, limits: { memory: '512Mi', cpu: '2' } } } })),
      ['spec.agent.resources.requests: requests must not exceed limits, they did for [memory]'],
    ],
  ])('%s', (_, document, expected) => expect(problems(parseSendingStream, document)).toEqual(expected))

  test.each<[string, object, string[]]>([
    [
      'two listeners on one port',
      { ports: { submission: 25, submissions: 465, admin: 25 } },
      ['spec.ports: the ports must differ, were [25, 465, 25]'],
    ],
    [
      'the log on the port of submission',
      { ports: { submission: 25, submissions: 465, admin: 26, log: 25, beacon: 27 } },
      ['spec.ports: the ports must differ, were [25, 465, 26, 25, 27]'],
    ],
    [
      'a standby that nobody can reach',
      { replication: { recordName: 'alone-0', endpointSliceName: 'alone-0', peers: [] } },
      [
        'spec.replication: replication must come with ports.log, ports.beacon and directories.replication, missing were [ports.log, ports.beacon, directories.replication]',
      ],
    ],
    [
      'a loop',
      { routes: [{ domain: '*', nextHop: { host: '127.0.0.9', port: 2587 } }] },
      ['spec.routes: a next hop must not be the instance itself, was so for [*]'],
    ],
    [
      'users without TLS',
      { directories: { queue: '/q', auth: '/a' } },
      [
        'spec.directories.tls: directories.auth must come with directories.tls, for AUTH is offered under TLS only, directories.tls was missing',
      ],
    ],
    [
      'nobody may submit',
      { submission: {} },
      ['spec: there must be directories.auth or submission.allowedNetworks, or nobody could submit, both were missing'],
    ],
  ])('%s', (_, change, expected) => expect(problems(parseMTAInstance, instance(change))).toEqual(expected))

  test('any free ports do not collide', () => {
    expect(problems(parseMTAInstance, instance({ ports: { submission: 0, submissions: 0, admin: 0 } }))).toEqual([])
  })

  test('a pool of two classes that must not meet', () => {
    const pool = {
      apiVersion: 'mtafleet.io/v1alpha1',
      kind: 'IPPool',
      metadata: { name: 'pool' },
      spec: {
        addresses: [{ address: '2001:DB8::1', hostName: 'mta', nodeName: 'node1' }],
        allowedClasses: ['Cold', 'Marketing'],
      },
    }
    expect(problems(parseIPPool, pool)).toEqual([
      'spec.addresses[0].address: must be an IPv4 or IPv6 address in its canonical spelling (192.0.2.1, 2001:db8::1), was "2001:DB8::1"',
      'spec.addresses[0].hostName: must be a full DNS name in lower case (mta-1.example.com), was "mta"',
      'spec.allowedClasses: Cold must be the only class of its pool, for it ruins the reputation of every other, was [Cold, Marketing]',
    ])
  })
})
