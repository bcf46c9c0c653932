import { expect, test } from 'vitest'
import type { BehaviourInput } from './behaviour.ts'
import { compare } from './compare.ts'
import { type LoadOptions, runLoad } from './load.ts'
import { buildLoadMessage } from './load-message.ts'
import { openProvider, type Provider } from './provider.ts'

const never = new AbortController().signal
const mix = {
  run: 'run',
  sender: 'load@senders.example',
  domains: ['a.example', 'b.example'],
  recipientsPerMessage: 1,
  sizes: [{ bytes: 2000, weight: 1 }],
}
const load = (provider: Provider, change: Partial<LoadOptions> = {}): LoadOptions => ({
  server: { host: provider.address, port: provider.port, tls: 'none' },
  mix,
  connections: 2,
  count: 20,
  backOffMillis: { first: 5, most: 20 },
  ...change,
})
const once = (at: 'dot' | 'mail' | 'content', action: NonNullable<BehaviourInput['rules']>[number]['action']): BehaviourInput => ({
  rules: [{ at, times: 1, action }],
})

test('what was accepted is what arrived, body by body', async () => {
  await using provider = await openProvider({ name: 'plain', behaviour: { tls: 'good' } })
  const server = { ...load(provider).server, tls: 'starttls', ca: provider.authority.certificate, servername: provider.hostName } as const
  const { accepted, refused, unfinished } = await runLoad(load(provider, { server }), never)
  expect({ accepted: accepted.length, refused, unfinished }).toEqual({ accepted: 20, refused: [], unfinished: [] })
  expect(compare({ accepted }, provider.arrivals())).toMatchObject({ complete: true, arrived: 20, duplicated: [], resubmitted: [] })
})

test('a deferred message is tried again as the same message', async () => {
  await using provider = await openProvider({ name: 'flaky', behaviour: once('mail', { do: 'reply', reply: '451 4.3.0 Later' }) })
  const { accepted, progress } = await runLoad(load(provider), never)
  expect({ messages: accepted.length, ...progress }).toMatchObject({ messages: 20, deferred: 1, ambiguous: 0, attempts: 21 })
  expect(compare({ accepted }, provider.arrivals())).toMatchObject({ complete: true, duplicated: [] })
})

test('a connection cut before the message is no ambiguity', async () => {
  await using provider = await openProvider({ name: 'flaky', behaviour: once('mail', { do: 'close' }) })
  const { accepted, progress } = await runLoad(load(provider), never)
  expect({ accepted: accepted.length, ambiguous: progress.ambiguous }).toEqual({ accepted: 20, ambiguous: 0 })
})

test('a connection cut after the dot is an ambiguous attempt, and says so', async () => {
  await using provider = await openProvider({ name: 'flaky', behaviour: once('dot', { do: 'close' }) })
  const { accepted } = await runLoad(load(provider), never)
  expect(accepted.filter(({ ambiguousAttempts }) => ambiguousAttempts === 1)).toHaveLength(1)
  expect(compare({ accepted }, provider.arrivals())).toMatchObject({ complete: true, arrived: 20 })
})

test('a message refused for good is given up, with what was said', async () => {
  await using provider = await openProvider({ name: 'refusing', behaviour: once('mail', { do: 'reply', reply: '550 5.7.1 No' }) })
  const { accepted, refused } = await runLoad(load(provider, { connections: 1 }), never)
  expect({ accepted: accepted.length, refused: refused.map(({ messageId, reply }) => ({ messageId, reply })) }).toEqual({
    accepted: 19,
    refused: [{ messageId: '<run.0@load.example>', reply: '550 5.7.1 No' }],
  })
})

test('of several recipients the deferred ones are tried again, the refused ones not', async () => {
  await using provider = await openProvider({
    name: 'partial',
    behaviour: {
      rules: [
        { at: 'rcpt', match: { localPart: 'r0' }, action: { do: 'reply', reply: '550 5.1.1 Nobody' } },
        { at: 'rcpt', match: { localPart: 'r1' }, times: 1, action: { do: 'reply', reply: '450 4.2.1 Later' } },
      ],
    },
  })
  const { accepted, refused } = await runLoad(load(provider, { count: 1, mix: { ...mix, recipientsPerMessage: 3 } }), never)
  expect(accepted.map(({ recipients }) => recipients)).toEqual([['r2@a.example'], ['r1@b.example']])
  expect(refused.map(({ recipients, reply }) => ({ recipients, reply }))).toEqual([
    { recipients: ['r0@a.example'], reply: '550 5.1.1 Nobody' },
  ])
})

test('told to stop, it lists what it did not get rid of', async () => {
  await using provider = await openProvider({
    name: 'never',
    behaviour: { rules: [{ at: 'mail', action: { do: 'reply', reply: '451 4.3.0 Later' } }] },
  })
  const stop = new AbortController()
  const seen = Promise.withResolvers<void>()
  const running = runLoad(load(provider, { connections: 1, onProgress: ({ attempts }) => attempts >= 3 && seen.resolve() }), stop.signal)
  await seen.promise
  stop.abort()
  const { accepted, unfinished } = await running
  expect({ accepted, unfinished: unfinished.map(({ messageId, reply }) => ({ messageId, reply })) }).toEqual({
    accepted: [],
    unfinished: [{ messageId: '<run.0@load.example>', reply: '451 4.3.0 Later' }],
  })
})

test('message sizes follow the mix, and equal numbers make equal messages', () => {
  const sizes = [
    { bytes: 1000, weight: 2 },
    { bytes: 5000, weight: 1 },
  ]
  const lengths = [0, 1, 2, 3].map((number) => buildLoadMessage({ ...mix, sizes }, number).content.length)
  expect(lengths).toEqual([1000, 1000, 5000, 1000])
  expect(buildLoadMessage(mix, 7)).toEqual(buildLoadMessage(mix, 7))
})
