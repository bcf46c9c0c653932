import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as addresses from './addresses.ts'
import {
  canonicalAddress,
  compareAddresses,
  formatAddress,
  formatNetwork,
  networkContains,
  parseAddress,
  parseNetwork,
} from './addresses.ts'

const family = fc.constantFrom<4 | 6>(4, 6)
/** Values with long runs of zeros are where IPv6 spellings differ, so they are made often. */
const value = (of: 4 | 6) =>
  of === 4
    ? fc.bigInt(0n, 2n ** 32n - 1n)
    : fc
        .array(fc.oneof(fc.constant(0n), fc.bigInt(0n, 0xffffn)), { minLength: 8, maxLength: 8 })
        .map((groups) => groups.reduce((sum, group) => (sum << 16n) | group, 0n))
        .filter((sum) => sum >> 32n !== 0xffffn)
const address = family.chain((of) => value(of).map((bits) => ({ family: of, value: bits })))
const network = family.chain((of) =>
  fc
    .tuple(value(of), fc.integer({ min: 0, max: of === 4 ? 32 : 128 }))
    .map(([bits, prefixLength]) => ({ family: of, value: bits, prefixLength })),
)

describe('addresses', () => {
  test('what is written is read back', () => {
    fc.assert(
      fc.property(address, (one) => {
        expect(parseAddress(formatAddress(one))).toEqual(one)
      }),
    )
  })

  test('the canonical spelling is the one that the WHATWG URL parser writes', () => {
    fc.assert(
      fc.property(address, (one) => {
        const written = formatAddress(one)
        const host = new URL(`http://${one.family === 4 ? written : `[${written}]`}/`).hostname
        expect(host.replaceAll(/[[\]]/g, '')).toBe(written)
      }),
    )
  })

  test('every spelling of an address has one canonical spelling', () => {
    fc.assert(
      fc.property(address, fc.boolean(), (one, upper) => {
        const groups = Array.from({ length: 8 }, (_, index) => ((one.value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16))
        const long = one.family === 4 ? formatAddress(one) : groups.map((group) => group.padStart(4, '0')).join(':')
        expect(canonicalAddress(upper ? long.toUpperCase() : long)).toBe(formatAddress(one))
      }),
    )
  })

  test('nothing is taken for an address that Node takes for none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f.:%/]{0,20}$/)), (text) => {
        expect(addresses.isAddress(text) && !isIPv4(text) && !isIPv6(text)).toBe(false)
      }),
    )
  })

  test('order is total and by value', () => {
    fc.assert(
      fc.property(address, address, (a, b) => {
        const forth = compareAddresses(formatAddress(a), formatAddress(b))
        expect(Math.sign(forth)).toBe(-Math.sign(compareAddresses(formatAddress(b), formatAddress(a))) + 0)
        expect(forth === 0).toBe(a.family === b.family && a.value === b.value)
      }),
    )
    expect(['2001:db8::1', '192.0.2.10', '192.0.2.9'].toSorted(compareAddresses)).toEqual(['192.0.2.9', '192.0.2.10', '2001:db8::1'])
  })

  test.each([
    '::ffff:192.0.2.1',
    'fe80::1%eth0',
    '192.0.2.01',
    '192.0.2',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7:8:9',
    '::1:2:3:4:5:6:7:8',
    '',
  ])('refuses %s', (text) => expect(() => parseAddress(text)).toThrow(`must be an IPv4 or IPv6 address, was "${text}"`))

  test.each([
    ['192.0.2.1', true],
    ['10.0.0.1', true],
    ['2001:db8::1', true],
    ['fd00::1', true],
    ['0.0.0.0', false],
    ['255.255.255.255', false],
    ['127.0.0.1', false],
    ['224.0.0.1', false],
    ['169.254.1.1', false],
    ['::', false],
    ['::1', false],
    ['fe80::1', false],
    ['ff02::1', false],
  ])('%s can be a source address: %s', (text, expected) => expect(addresses.isGlobalUnicast(parseAddress(text))).toBe(expected))
})

describe('networks', () => {
  test('a network contains its own addresses and no others', () => {
    fc.assert(
      fc.property(network, address, (net, one) => {
        const width = net.family === 4 ? 32 : 128
        const size = 1n << BigInt(width - net.prefixLength)
        const first = (net.value / size) * size
        const isInside = one.family === net.family && one.value >= first && one.value < first + size
        expect(networkContains(net, one)).toBe(isInside)
        expect(networkContains(net, { family: net.family, value: first + size - 1n })).toBe(true)
      }),
    )
  })

  test('the canonical spelling names the same network', () => {
    fc.assert(
      fc.property(network, address, (net, one) => {
        const text = formatNetwork(net)
        expect(addresses.isCanonicalNetwork(text)).toBe(true)
        expect(networkContains(parseNetwork(text), one)).toBe(networkContains(net, one))
      }),
    )
  })

  test.each([
    ['192.0.2.0', 'must be a network (192.0.2.0/24 or 2001:db8::/32), was "192.0.2.0"'],
    ['192.0.2.0/08', 'must be a network (192.0.2.0/24 or 2001:db8::/32), was "192.0.2.0/08"'],
    ['192.0.2.0/33', 'prefix length must be at most 32, was 33 in "192.0.2.0/33"'],
    ['2001:db8::/129', 'prefix length must be at most 128, was 129 in "2001:db8::/129"'],
  ])('refuses %s', (text, message) => expect(() => parseNetwork(text)).toThrow(message))
})

test.each([
  ['example.com', true, true],
  ['xn--bcher-kva.example', true, true],
  ['localhost', true, false],
  ['Example.com', false, false],
  ['example.com.', false, false],
  ['bücher.example', false, false],
  ['-a.example', false, false],
  ['a_b.example', false, false],
  ['192.0.2.1', false, false],
  [`${'a'.repeat(64)}.example`, false, false],
  [`${'a.'.repeat(125)}example`, false, false],
  ['', false, false],
])('%s is a host name: %s, a domain: %s', (text, isHost, isDomain) => {
  expect({ isHost: addresses.isHostName(text), isDomain: addresses.isDomain(text) }).toEqual({ isHost, isDomain })
})
