import { expect, test } from 'vitest'
import { collectionPath, objectPath, splitLines } from './client.ts'
import { LEASES, metadataOnly, NODES, parseKey, formatKey, PODS, SECRETS } from './resources.ts'

test('paths are those of the API: core and groups, with and without namespace', () => {
  expect([
    collectionPath(PODS, 'mail'),
    collectionPath(PODS, undefined),
    objectPath(LEASES, { namespace: 'mail', name: 'leader' }),
    objectPath(NODES, { name: 'node-1' }),
    objectPath(metadataOnly(SECRETS), { namespace: 'mail', name: 'tls' }),
  ]).toEqual([
    '/api/v1/namespaces/mail/pods',
    '/api/v1/pods',
    '/apis/coordination.k8s.io/v1/namespaces/mail/leases/leader',
    '/api/v1/nodes/node-1',
    '/api/v1/namespaces/mail/secrets/tls',
  ])
})

test('a name cannot climb out of its place in the path', () => {
  expect(objectPath(PODS, { namespace: 'mail', name: '../secrets/tls' })).toBe('/api/v1/namespaces/mail/pods/..%2Fsecrets%2Ftls')
  expect(() => objectPath(PODS, { namespace: 'mail', name: '..' })).toThrow("'..' must be the name of an object")
  expect(() => objectPath(PODS, { name: 'a' })).toThrow("Pod 'a' must be named with its namespace")
})

test.each([
  [['{"a":1}\n{"b":2}\n'], ['{"a":1}', '{"b":2}']],
  [
    ['{"a"', ':1}\n{"b', '":2}', '\n'],
    ['{"a":1}', '{"b":2}'],
  ],
  [['{"a":1}\n{"cut":'], ['{"a":1}']],
  [['\n\n'], []],
])('pieces %j are lines %j', async (pieces, lines) => {
  const stream = (async function* () {
    yield* pieces
  })()
  const got: string[] = []
  for await (const line of splitLines(stream)) got.push(line)
  expect(got).toEqual(lines)
})

test('keys have one spelling, both ways', () => {
  const keys = [{ namespace: 'mail', name: 'a' }, { name: 'node-1' }]
  expect(keys.map((key) => parseKey(formatKey(key)))).toEqual(keys)
})
