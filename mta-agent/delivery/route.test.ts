import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Domain } from '../domain/envelope.ts'
import type { DnsAnswer, HostAddress, MxRecord } from './resolver.ts'
import { familyOf, planExchanges, planHosts, planNextHop, planRoutes } from './route.ts'

const domain = 'example.com' as Domain
const own = new Set(['out.example.org', '192.0.2.99'])
const mx = (...records: readonly (readonly [number, string])[]): DnsAnswer<MxRecord> => ({
  kind: 'records',
  records: records.map(([preference, exchange]) => ({ preference, exchange })),
})
const addresses = (...found: readonly string[]): DnsAnswer<HostAddress> => ({
  kind: 'records',
  records: found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
})

/** In words: host names, or what every recipient is told. */
function words(plan: ReturnType<typeof planExchanges> | ReturnType<typeof planHosts>): string {
  if (plan.kind === 'hosts') return plan.hosts.map((host) => (typeof host === 'string' ? host : `${host.name}=${host.address}`)).join(' ')
  const { outcome } = plan
  return `${outcome.kind} ${outcome.kind === 'bounced' ? outcome.because : ''} ${outcome.reply.code} ${outcome.reply.enhanced}`
}

test.each<[what: string, answer: DnsAnswer<MxRecord>, wanted: string]>([
  ['hosts by preference', mx([20, 'b.example'], [10, 'a.example'], [30, 'c.example']), 'a.example b.example c.example'],
  ['the domain itself when it has no MX', { kind: 'none' }, 'example.com'],
  ['a bounce for a domain that does not exist', { kind: 'no-name' }, 'bounced NoSuchDomain 550 5.1.2'],
  ['a deferral when nobody knows', { kind: 'failed', why: 'ESERVFAIL' }, 'deferred  451 4.4.3'],
  ['a bounce for a null MX', mx([0, '']), 'bounced NullMx 556 5.1.10'],
  ['the others, where a null MX stands among them', mx([0, ''], [10, 'a.example']), 'a.example'],
  [
    'only what is preferred to ourselves',
    mx([10, 'a.example'], [20, 'OUT.example.org.'], [20, 'b.example'], [30, 'c.example']),
    'a.example',
  ],
  ['a bounce when we are the best', mx([10, 'out.example.org'], [20, 'b.example']), 'bounced Unroutable 550 5.4.6'],
  ['each host once', mx([10, 'a.example'], [20, 'A.example.']), 'a.example'],
  [
    'ten hosts and no more',
    mx(...Array.from({ length: 40 }, (_, at) => [at, `h${at}`] as const)),
    Array.from({ length: 10 }, (_, at) => `h${at}`).join(' '),
  ],
])('exchanges: %s', (_what, answer, wanted) => {
  expect(words(planExchanges(domain, answer, own, () => 0.5))).toBe(wanted)
})

test('equal preferences share the load, and never come before a better one', () => {
  const answer = mx([20, 'a'], [20, 'b'], [20, 'c'], [10, 'first'])
  const seen = new Set<string>()
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 4, maxLength: 4 }), (draws) => {
      let at = 0
      const plan = words(planExchanges(domain, answer, own, () => draws[at++ % 4]!))
      expect(plan.startsWith('first ')).toBe(true)
      expect(plan.split(' ').toSorted()).toEqual(['a', 'b', 'c', 'first'])
      seen.add(plan)
    }),
  )
  expect(seen.size).toBe(6)
})

const at = (name: string, answer: DnsAnswer<HostAddress>) => ({ name, port: 25, answer })

test.each<[what: string, located: ReturnType<typeof at>[], implicit: boolean, wanted: string]>([
  [
    'every address of every host, in order',
    [at('a', addresses('192.0.2.1', '2001:db8::1')), at('b', addresses('192.0.2.2'))],
    false,
    'a=192.0.2.1 a=2001:db8::1 b=192.0.2.2',
  ],
  ['hosts without address are passed over', [at('a', { kind: 'no-name' }), at('b', addresses('192.0.2.2'))], false, 'b=192.0.2.2'],
  [
    'MX hosts without any address: deferred, no fallback to A',
    [at('a', { kind: 'no-name' }), at('b', { kind: 'none' })],
    false,
    'deferred  451 4.4.4',
  ],
  ['an implicit MX without address bounces', [at('example.com', { kind: 'none' })], true, 'bounced Unroutable 550 5.4.4'],
  [
    'one that nobody knows defers all',
    [at('a', { kind: 'no-name' }), at('b', { kind: 'failed', why: 'ETIMEOUT' })],
    true,
    'deferred  451 4.4.3',
  ],
  [
    'what comes at or after ourselves is dropped',
    [at('a', addresses('192.0.2.1')), at('b', addresses('192.0.2.99')), at('c', addresses('192.0.2.3'))],
    false,
    'a=192.0.2.1',
  ],
  ['ourselves first is a loop', [at('a', addresses('192.0.2.99'))], false, 'bounced Unroutable 550 5.4.6'],
])('hosts: %s', (_what, located, implicit, wanted) => {
  expect(words(planHosts(domain, located, implicit, own))).toBe(wanted)
})

const source = (address: string) => ({ address, hostName: `${address}.example.org` })

test('a host is dialled from a source address of its family', () => {
  const hosts = [
    { name: 'a', address: '2001:db8::1', family: 6, port: 25 },
    { name: 'a', address: '192.0.2.1', family: 4, port: 25 },
  ] as const
  const plan = (...sources: readonly string[]) => planRoutes(domain, hosts, sources.map(source), () => true)
  expect(plan('198.51.100.1', '2001:db8:f::1', '198.51.100.2')).toMatchObject([
    { source: { address: '2001:db8:f::1' }, host: { address: '2001:db8::1' } },
    { source: { address: '198.51.100.1' }, host: { address: '192.0.2.1' } },
  ])
  expect(plan('198.51.100.1')).toMatchObject([{ host: { address: '192.0.2.1' } }])
  expect(planRoutes(domain, [hosts[0]], [source('198.51.100.1')], () => true)).toMatchObject({
    kind: 'deferred',
    reply: { enhanced: '4.4.4' },
  })
})

test('a source address whose route to the host is closed leaves the host to the next, and stays when there is no other', () => {
  const host = { name: 'a', address: '192.0.2.1', family: 4, port: 25 } as const
  const plan = (closed: readonly string[]) =>
    planRoutes(domain, [host], ['198.51.100.1', '198.51.100.2'].map(source), (route) => !closed.includes(route.source.address))
  expect(plan([])).toEqual([{ source: source('198.51.100.1'), host }])
  expect(plan(['198.51.100.1'])).toEqual([{ source: source('198.51.100.2'), host }])
  expect(plan(['198.51.100.1', '198.51.100.2'])).toEqual([{ source: source('198.51.100.1'), host }])
})

test('a route for the domain stands before *, and both before MX', () => {
  const routes = [
    { domain: '*', nextHop: { host: 'relay.example', port: 25 } },
    { domain: 'example.com', nextHop: { host: '192.0.2.5', port: 2525 } },
  ]
  expect(planNextHop(domain, routes)).toEqual({ kind: 'configured', name: '192.0.2.5', port: 2525 })
  expect(planNextHop('other.example' as Domain, routes)).toEqual({ kind: 'configured', name: 'relay.example', port: 25 })
  expect(planNextHop(domain, [])).toEqual({ kind: 'mx', domain })
  expect(planNextHop('[192.0.2.7]' as Domain, [])).toEqual({ kind: 'literal', address: '192.0.2.7' })
  expect(planNextHop('[ipv6:2001:db8::7]' as Domain, [])).toEqual({ kind: 'literal', address: '2001:db8::7' })
})

test.each([
  ['192.0.2.1', 4],
  ['2001:db8::1', 6],
  ['mx.example.com', 0],
  ['192.0.2', 0],
  ['1', 0],
] as const)('%s is of family %i', (text, family) => {
  expect(familyOf(text)).toBe(family)
})
