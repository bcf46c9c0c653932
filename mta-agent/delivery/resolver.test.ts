import { expect, test } from 'vitest'
import { openNameServer, type Zones } from '#test/builders/name-server.ts'
import { openResolver } from './resolver.ts'

const ZONES: Zones = {
  'example.com': {
    MX: [
      [20, 'mx2.example.com'],
      [10, 'mx1.example.com'],
    ],
  },
  'null.example': { MX: [[0, '.']] },
  'bare.example': { A: ['192.0.2.9'] },
  'alias.example': { CNAME: 'example.com' },
  'mx1.example.com': { A: ['192.0.2.1', '192.0.2.2'], AAAA: ['2001:db8::1'], ttl: 30 },
  'broken.example': 'SERVFAIL',
  'silent.example': 'silent',
}

async function start(more: { readonly clock?: () => number; readonly deadlineMillis?: number; readonly maxEntries?: number } = {}) {
  const server = await openNameServer(ZONES)
  return { server, resolver: openResolver({ servers: [server.server], clock: () => 0, ...more }) }
}

test.each([
  [
    'MX records as they are',
    'example.com',
    {
      kind: 'records',
      records: [
        { preference: 20, exchange: 'mx2.example.com' },
        { preference: 10, exchange: 'mx1.example.com' },
      ],
    },
  ],
  ['a null MX as an empty exchange', 'null.example', { kind: 'records', records: [{ preference: 0, exchange: '' }] }],
  ['no MX as none', 'bare.example', { kind: 'none' }],
  [
    'what an alias points to',
    'alias.example',
    {
      kind: 'records',
      records: [
        { preference: 20, exchange: 'mx2.example.com' },
        { preference: 10, exchange: 'mx1.example.com' },
      ],
    },
  ],
  ['a name that does not exist', 'missing.example', { kind: 'no-name' }],
  ['a broken zone as failed, never as missing', 'broken.example', { kind: 'failed', why: 'ESERVFAIL' }],
])('says %s', async (_what, domain, wanted) => {
  const { server, resolver } = await start()
  await using _ = server
  expect(await resolver.resolveMx(domain)).toEqual(wanted)
})

test('silence is a failure within the deadline', async () => {
  const { server, resolver } = await start({ deadlineMillis: 100 })
  await using _ = server
  expect(await resolver.resolveMx('silent.example')).toEqual({ kind: 'failed', why: 'deadline' })
})

test('addresses of both families are found, A first', async () => {
  const { server, resolver } = await start()
  await using _ = server
  expect(await resolver.resolveAddresses('mx1.example.com')).toEqual({
    kind: 'records',
    records: [
      { address: '192.0.2.1', family: 4 },
      { address: '192.0.2.2', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ],
  })
})

test('an answer is kept for its TTL and asked for again after it', async () => {
  let now = 0
  const { server, resolver } = await start({ clock: () => now })
  await using _ = server
  await resolver.resolveAddresses('mx1.example.com')
  now = 29_999
  await resolver.resolveAddresses('mx1.example.com')
  expect(server.questions.length).toBe(2)
  now = 30_000
  await resolver.resolveAddresses('mx1.example.com')
  expect(server.questions.length).toBe(4)
})

test('equal questions at one time are one question', async () => {
  const { server, resolver } = await start()
  await using _ = server
  const answers = await Promise.all(Array.from({ length: 20 }, () => resolver.resolveMx('example.com')))
  expect(new Set(answers).size).toBe(1)
  expect(server.questions).toEqual(['MX example.com'])
})

test('the cache forgets the oldest answers when it is full', async () => {
  const { server, resolver } = await start({ maxEntries: 2 })
  await using _ = server
  for (const domain of ['example.com', 'null.example', 'bare.example', 'example.com']) await resolver.resolveMx(domain)
  expect(server.questions).toEqual(['MX example.com', 'MX null.example', 'MX bare.example', 'MX example.com'])
})
