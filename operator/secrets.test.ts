import { expect, test } from 'vitest'
import type { Client } from '#kube/client.ts'
import { KubeError } from '#kube/errors.ts'
import { fleet, stream } from '#test/builders/fleet.ts'
import { Secrets } from './secrets.ts'

/** An API server with one namespace of Secrets, which writes down what it was asked for. */
function start(content: Record<string, { readonly version: string; readonly keys: readonly string[] }>) {
  const asked: string[] = []
  const changed: string[] = []
  const stop = new AbortController()
  let [now, turns] = [0, Infinity]
  const find = async (of: { readonly view?: string }, { name }: { readonly name: string }) => {
    asked.push(`${of.view ?? 'Whole'} ${name}`)
    const secret = content[name]
    if (secret === undefined) return undefined
    if (secret.version === 'unreadable')
      throw new KubeError({ kind: 'serverError', code: 500 }, 'Internal error: no matching key was found')
    const metadata = { name, resourceVersion: secret.version }
    return of.view === undefined
      ? { metadata, type: 'Opaque', data: Object.fromEntries(secret.keys.map((key) => [key, 'a value'])) }
      : { metadata }
  }
  const secrets = new Secrets({
    client: { find: find as unknown as Client['find'] },
    clock: {
      monotonic: () => now,
      wall: () => now,
      random: () => 0,
      sleep: async (millis) => {
        now += millis
        turns -= 1
        if (turns <= 0) stop.abort()
      },
    },
    ours: () => fleet({ streams: [stream('a')] }),
    onChange: ({ name }) => changed.push(name),
    onFailure: (_, error) => {
      throw error
    },
  })
  const pass = async (seconds: number) => {
    turns = seconds / 2
    await secrets.run(stop.signal)
  }
  return { secrets, asked, changed, pass, read: (namespace = 'mail') => secrets.read(namespace, new AbortController().signal) }
}

const CONTENT = { 'submission-tls': { version: '1', keys: ['tls.key', 'tls.crt'] }, 'submission-users': { version: '1', keys: ['client'] } }

test('only the names of the keys are known, and each Secret is read once', async () => {
  const { read, asked } = start(CONTENT)
  await read()
  expect([await read(), asked]).toEqual([
    [
      { namespace: 'mail', name: 'submission-tls', type: 'Opaque', keys: ['tls.crt', 'tls.key'] },
      { namespace: 'mail', name: 'submission-users', type: 'Opaque', keys: ['client'] },
    ],
    ['Whole submission-tls', 'Whole submission-users'],
  ])
})

test('one that cannot be read holds up its own namespace alone', async () => {
  const { read } = start({ ...CONTENT, 'submission-tls': { version: 'unreadable', keys: [] } })
  await expect(read()).rejects.toThrow('no matching key was found')
  expect((await read('elsewhere')).map(({ name }) => name)).toEqual(['submission-users'])
})

test('at rest only the metadata is looked at, and the Secret again when that has changed', async () => {
  const content = { ...CONTENT }
  const { read, asked, changed, pass } = start(content)
  await read()
  content['submission-users'] = { version: '2', keys: ['client', 'other'] }
  asked.length = 0
  await pass(62)
  expect([asked, changed, (await read())[1]?.keys]).toEqual([
    ['Metadata submission-tls', 'Metadata submission-users', 'Whole submission-users'],
    ['submission-users'],
    ['client', 'other'],
  ])
})

test('one that is missing is looked for every few seconds, and its appearance is told', async () => {
  const content: Record<string, { readonly version: string; readonly keys: readonly string[] }> = {
    'submission-users': CONTENT['submission-users'],
  }
  const { read, changed, pass } = start(content)
  expect((await read()).map(({ name }) => name)).toEqual(['submission-users'])
  content['submission-tls'] = CONTENT['submission-tls']
  await pass(6)
  expect([changed, (await read()).map(({ name }) => name)]).toEqual([['submission-tls'], ['submission-tls', 'submission-users']])
})
