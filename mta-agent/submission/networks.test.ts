import { expect, test } from 'vitest'
import { clientKey, contains, parseNetworks } from './networks.ts'

test.each([
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['10.0.0.0/8', '::ffff:10.0.0.1', true],
  ['2001:db8::/32', '2001:db8:1::1', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['0.0.0.0/0', '2001:db8::1', false],
  ['::/0', '192.0.2.1', false],
  ['fe80::/10', 'fe80::1%eth0', true],
  ['192.0.2.0/24', 'nonsense', false],
])('%s contains %s: %s', (network, address, want) => {
  expect(contains(parseNetworks([network]), address)).toBe(want)
})

test('what is no network is told with what was', () => {
  expect(() => parseNetworks(['10.0.0.0'])).toThrow('must be a network (192.0.2.0/24 or 2001:db8::/32), was "10.0.0.0"')
})

test('an IPv6 client is its /64', () => {
  expect([clientKey('2001:db8:1:2:3::4'), clientKey('2001:db8:1:2::9'), clientKey('::ffff:192.0.2.1'), clientKey('192.0.2.1')]).toEqual([
    '2001:db8:1:2::/64',
    '2001:db8:1:2::/64',
    '192.0.2.1',
    '192.0.2.1',
  ])
})
