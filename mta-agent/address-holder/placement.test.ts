import { expect, test } from 'vitest'
import { judgePlacement } from './placement.ts'
import type { Attached, ManagedAddress, NetworkInterface, NetworkView } from './port.ts'

const lasting = (text: string, secondsLeft = Number.POSITIVE_INFINITY): Attached => {
  const [address = '', length] = text.split('/')
  return { address, prefixLength: Number(length), secondsLeft }
}
const link = (name: string, addresses: readonly Attached[], change: Partial<NetworkInterface> = {}): NetworkInterface => ({
  name,
  isUp: true,
  hasNeighbours: true,
  addresses,
  ...change,
})
const view = (...interfaces: readonly NetworkInterface[]): NetworkView => ({ interfaces, defaultInterface: { 4: 'eth0', 6: 'eth0' } })
const node = view(
  link('lo', [], { hasNeighbours: false }),
  link('eth0', [lasting('203.0.113.5/24'), lasting('2001:db8::5/64')]),
  link('mail0', [lasting('192.0.2.1/24')]),
)
const judge = (wanted: ManagedAddress, there = node) => {
  const { placed, refused } = judgePlacement([wanted], there)
  return placed.map(({ address, state }) => `${state} ${address.address}/${address.prefixLength} ${address.interface}`)[0] ?? refused[0]
}

test('an address goes where it is told to, else to its network, else to the default route', () => {
  expect([
    judge({ address: '192.0.2.7', interface: 'eth0' }),
    judge({ address: '192.0.2.7' }),
    judge({ address: '198.51.100.7' }),
    judge({ address: '2001:db8:1::7' }),
  ]).toEqual(['fresh 192.0.2.7/32 eth0', 'fresh 192.0.2.7/32 mail0', 'fresh 198.51.100.7/32 eth0', 'fresh 2001:db8:1::7/128 eth0'])
})

test('no such interface, or one that is down', () => {
  const down = view(link('eth0', [lasting('203.0.113.5/24')], { isUp: false }))
  expect([
    judge({ address: '192.0.2.7', interface: 'eth9' }),
    judge({ address: '203.0.113.7' }, down),
    judge({ address: '192.0.2.7' }, { ...node, defaultInterface: {}, interfaces: [] }),
  ]).toMatchObject([
    { reason: 'NoInterface', message: 'there must be an interface eth9; there are lo, eth0, mail0' },
    { reason: 'NoInterface', message: 'eth0 must be up, was down' },
    { reason: 'NoInterface' },
  ])
})

test('never the first address of an interface or of a network: the node would speak from it, and lose the others with it', () => {
  expect([
    judge({ address: '2001:db8::7', interface: 'mail0' }),
    judge({ address: '198.51.100.7', prefixLength: 24, interface: 'eth0' }),
    judge({ address: '192.0.2.7', prefixLength: 24 }),
    judge({ address: '198.51.100.7' }, view(link('eth0', [lasting('203.0.113.5/24', 4)]))),
  ]).toMatchObject([
    { reason: 'FirstOnInterface', message: 'mail0 must have an IPv6 address of its own first, had none that lasts' },
    {
      reason: 'FirstOnInterface',
      message: 'eth0 must have an address of its own in 198.51.100.0/24 first, or the prefix length must be 32',
    },
    'fresh 192.0.2.7/24 mail0',
    { reason: 'FirstOnInterface' },
  ])
})

test('what a holder left is taken over, what the administrator put there is left alone', () => {
  const having = (...addresses: readonly Attached[]) => view(link('eth0', [lasting('203.0.113.5/24'), ...addresses]))
  const wanted = { address: '198.51.100.7' }
  expect([
    judge(wanted, having(lasting('198.51.100.7/32', 4))),
    judge(wanted, having(lasting('198.51.100.7/32'))),
    judge(wanted, having(lasting('198.51.100.7/32', 3_600))),
    judge(wanted, having(lasting('198.51.100.7/24', 4))),
  ]).toMatchObject([
    'ours 198.51.100.7/32 eth0',
    { reason: 'AlreadyThere', message: '198.51.100.7/32 is on eth0 already, not put there by an address holder' },
    { reason: 'AlreadyThere' },
    { reason: 'AlreadyThere', message: '198.51.100.7/24 is on eth0 already, until it ends' },
  ])
})
