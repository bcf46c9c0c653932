import { expect, test } from 'vitest'
import { presentAddresses } from './addresses.ts'

const entry = (address: string, family: 'IPv4' | 'IPv6', internal: boolean) =>
  ({ address, family, internal, netmask: '', mac: '', cidr: null, ...(family === 'IPv6' ? { scopeid: 0 } : {}) }) as never

test('present is what is on an interface, and all of 127.0.0.0/8 where there is loopback', () => {
  const interfaces = {
    lo: [entry('127.0.0.1', 'IPv4', true)],
    eth0: [entry('192.0.2.1', 'IPv4', false), entry('2001:db8::1', 'IPv6', false)],
  }
  const wanted = ['192.0.2.1', '192.0.2.2', '2001:db8::1', '127.0.0.5']
  expect([presentAddresses(wanted, interfaces), presentAddresses(wanted, {})]).toEqual([['192.0.2.1', '2001:db8::1', '127.0.0.5'], []])
})
