import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigFault } from './config.ts'
import { forgetDocument, keepDocument, readDocumentFile, readKeptDocument } from './document.ts'
import { describeFault } from './fatal.ts'

let directory: string
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'mtafleet-document-'))))
afterEach(() => rmSync(directory, { recursive: true }))

const example = () => readDocumentFile(new URL('../examples/agent-alone.yaml', import.meta.url).pathname)

test('a kept document is used by the instance of the same uid, without its status', async () => {
  const document = await example()
  const instance = { ...document, metadata: { ...document.metadata, uid: 'one', generation: 7 } }
  await keepDocument(directory, { ...instance, status: { podName: 'x' } })
  expect(await readKeptDocument(directory, 'one')).toEqual({ kind: 'usable', instance })
})

test('one that was taken away is not used, and it is no fault when there was none', async () => {
  await forgetDocument(directory)
  const document = await example()
  await keepDocument(directory, { ...document, metadata: { ...document.metadata, uid: 'one' } })
  await forgetDocument(directory)
  expect(await readKeptDocument(directory, 'one')).toMatchObject({ kind: 'unusable', because: 'None' })
})

test('a kept document of another instance, a damaged one and none are not used, each for its reason', async () => {
  expect(await readKeptDocument(directory, 'one')).toMatchObject({ kind: 'unusable', because: 'None' })
  const document = await example()
  await keepDocument(directory, { ...document, metadata: { ...document.metadata, uid: 'one' } })
  expect(await readKeptDocument(directory, 'two')).toEqual({
    kind: 'unusable',
    because: 'OtherInstance',
    message: 'must be of instance two, was of one',
  })
  writeFileSync(join(directory, 'instance.json'), '{"half":')
  expect(await readKeptDocument(directory, 'one')).toMatchObject({ kind: 'unusable', because: 'Unreadable' })
})

test.each([
  ['missing.yaml', undefined, /^.*missing\.yaml: must be a readable file: ENOENT/],
  ['broken.yaml', 'a: [', /^.*broken\.yaml: must be YAML: /],
  ['other.yaml', 'kind: Pod', /^apiVersion: must be mtafleet\.io\/v1alpha1, was missing$/],
])('%s is told in one line', async (name, text, want) => {
  const path = join(directory, name)
  if (text !== undefined) writeFileSync(path, text)
  const error: unknown = await readDocumentFile(path).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ConfigFault)
  expect(describeFault(error)[0]).toMatch(want)
})

test('what the operating system says is told in words', () => {
  const fault = (facts: object) => describeFault(Object.assign(new Error('message'), facts))
  expect([
    fault({ code: 'EADDRINUSE', address: '10.0.0.1', port: 587 }),
    fault({ code: 'EADDRNOTAVAIL', address: '10.0.0.1', port: 587 }),
    fault({ code: 'EACCES', port: 25 }),
    fault({ code: 'EACCES', path: '/queue/lock' }),
    fault({ code: 'EROFS', path: '/queue' }),
    fault({}),
  ]).toEqual([
    ['port must be free, is taken: 10.0.0.1:587 (EADDRINUSE)'],
    ['address must be on this node, is not: 10.0.0.1:587 (EADDRNOTAVAIL)'],
    ['port must be one that this user may listen on, was 25 (EACCES)'],
    ['must be readable and writable by this user, is not: /queue/lock (EACCES)'],
    ['queue volume must be writable, is read-only: /queue (EROFS)'],
    ['Error: message'],
  ])
})
