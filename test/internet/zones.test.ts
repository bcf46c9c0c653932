import { expect, test } from 'vitest'
import { DEAD_HOST, HOSTS, PROVIDERS } from './catalogue.ts'
import { pointerName, SENDERS, ZONES } from './zones.ts'

const textOf = (name: string): string => {
  const text = ZONES.find((zone) => zone.name === name)?.text
  if (typeof text !== 'string') throw new Error(`${name} has no master file`)
  return text
}
const records = textOf('example')
  .split('\n')
  .map((line) => /^(\S+)\. \d+ IN (\S+) (.*)$/.exec(line))
  .filter((found) => found !== null)
  .map(([, owner, type, data]) => ({ owner: owner!, type: type!, data: data! }))
const ownersOf = (...types: string[]): Set<string> => new Set(records.filter(({ type }) => types.includes(type)).map(({ owner }) => owner))

test('every mail host has an address, but for the ones that are broken on purpose', () => {
  const addressed = ownersOf('A')
  const exchanges = records.filter(({ type }) => type === 'MX').map(({ data }) => data.split(' ')[1]!.slice(0, -1))
  expect(new Set(exchanges.filter((name) => !addressed.has(name)))).toEqual(
    new Set(['', 'there-is-no-such-host.example', 'alias-host.example']),
  )
})

test('every provider has its domain, and hosts of its own', () => {
  const withMail = ownersOf('MX', 'A')
  expect(PROVIDERS.map(({ domain }) => domain).filter((domain) => !withMail.has(domain))).toEqual([])
  expect(new Set(HOSTS).size).toBe(HOSTS.length)
  expect(HOSTS).not.toContain(DEAD_HOST)
})

test('a name that is a CNAME is nothing else', () => {
  const others = new Set(records.filter(({ type }) => type !== 'CNAME').map(({ owner }) => owner))
  expect([...ownersOf('CNAME')].filter((owner) => others.has(owner))).toEqual([])
})

test('every source address has a name that leads back to it', () => {
  for (const { name, address, addressV6 } of SENDERS) {
    expect(records).toContainEqual({ owner: name, type: 'A', data: address })
    expect(textOf('2.0.192.in-addr.arpa')).toContain(`${pointerName(address)}. 5 IN PTR ${name}.\n`)
    expect(textOf('0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa')).toContain(`${pointerName(addressV6)}. 5 IN PTR ${name}.\n`)
  }
  expect(SENDERS).toHaveLength(36)
})

test.each([
  ['192.0.2.11', '11.2.0.192.in-addr.arpa'],
  ['2001:db8:0:1::2', '2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa'],
])('the pointer name of %s', (address, want) => {
  expect(pointerName(address)).toBe(want)
})
