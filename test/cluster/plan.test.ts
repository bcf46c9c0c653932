import * as fc from 'fast-check'
import { isIP } from 'node:net'
import { expect, test } from 'vitest'
import { DEFAULT_SIZE, parseNode, parseSize, planNode, planNodes } from './plan.ts'

test('a node has its addresses, zone and disks by its number', () => {
  expect(planNode(2, { nodes: 4, volumesPerNode: 1, volumeMebibytes: 512 })).toEqual({
    number: 2,
    name: 'node2',
    zone: 'zone-2',
    namespace: 'mtafleet-node2',
    link: 'lan2',
    mac: '02:6d:74:61:00:02',
    address: '10.77.0.12',
    addressV6: 'fd77::12',
    podSubnet: '10.88.2.0/24',
    sourceAddresses: [
      '192.0.2.21',
      '2001:db8:0:2::1',
      '192.0.2.22',
      '2001:db8:0:2::2',
      '192.0.2.23',
      '2001:db8:0:2::3',
      '192.0.2.24',
      '2001:db8:0:2::4',
    ],
    disks: [
      { slot: 1, volume: 'node2-ssd-1', storageClass: 'local-ssd', mebibytes: 512, mountPoint: '/mnt/ssd/1' },
      { slot: 'small', volume: 'node2-ssd-small', storageClass: 'local-ssd-small', mebibytes: 64, mountPoint: '/mnt/ssd/small' },
    ],
  })
})

test('four nodes stand in three zones', () => {
  expect(planNodes(DEFAULT_SIZE).map(({ name, zone }) => [name, zone])).toEqual([
    ['node1', 'zone-1'],
    ['node2', 'zone-2'],
    ['node3', 'zone-3'],
    ['node4', 'zone-1'],
  ])
})

test('no two nodes of any cluster share an address, a name or a volume, and all addresses are addresses', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 32 }), (nodes, volumesPerNode) => {
      const plans = planNodes({ nodes, volumesPerNode, volumeMebibytes: 16 })
      const addresses = plans.flatMap(({ address, addressV6, sourceAddresses }) => [address, addressV6, ...sourceAddresses])
      const names = plans.flatMap(({ name, namespace, link, mac, podSubnet, disks }) => [
        name,
        namespace,
        link,
        mac,
        podSubnet,
        ...disks.map((disk) => disk.volume),
      ])
      expect(addresses.filter((address) => isIP(address) === 0)).toEqual([])
      expect([new Set(addresses).size, new Set(names).size]).toEqual([addresses.length, names.length])
    }),
  )
})

test.each([
  [{}, DEFAULT_SIZE],
  [{ nodes: '2' }, { ...DEFAULT_SIZE, nodes: 2 }],
  [
    { volumesPerNode: 3, volumeMebibytes: '64' },
    { ...DEFAULT_SIZE, volumesPerNode: 3, volumeMebibytes: 64 },
  ],
])('the size %j is read', (given, want) => {
  expect(parseSize(given)).toEqual(want)
})

test.each([
  [{ nodes: '10' }, 'nodes must be an integer from 1 to 9, was "10"'],
  [{ nodes: '0' }, 'nodes must be an integer from 1 to 9, was "0"'],
  [{ volumesPerNode: 'many' }, 'volumesPerNode must be an integer from 1 to 32, was "many"'],
  [{ volumeMebibytes: 1.5 }, 'volumeMebibytes must be an integer from 16 to 65536, was 1.5'],
])('the size %j is refused', (given, message) => {
  expect(() => parseSize(given)).toThrow(new RangeError(message))
})

test.each(['node4', '4', 4])('%j is the fourth node', (given) => {
  expect(parseNode(given, DEFAULT_SIZE).name).toBe('node4')
})

test.each(['node5', '', 'four', '0', 'node-1'])('%j is no node of four', (given) => {
  expect(() => parseNode(given, DEFAULT_SIZE)).toThrow(
    new RangeError(`node must be node1 to node4 (or 1 to 4), was ${JSON.stringify(given)}`),
  )
})
