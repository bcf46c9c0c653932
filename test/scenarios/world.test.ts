import { expect, test } from 'vitest'
import { findAddresses, findDefaultClass } from './world.ts'

const node = (name: string, change: { readonly spec?: object; readonly ready?: string; readonly address?: string } = {}) => ({
  metadata: { name },
  spec: change.spec ?? {},
  status: {
    conditions: [{ type: 'Ready', status: change.ready ?? 'True' }],
    addresses: [
      { type: 'Hostname', address: name },
      { type: 'InternalIP', address: change.address ?? '10.0.0.1' },
    ],
  },
})
const list = (...items: readonly object[]) => JSON.stringify({ items })

test('nodes count by name, and only those that take Pods', () => {
  const nodes = list(
    node('d', { address: '10.0.0.4' }),
    node('a', { spec: { taints: [{ effect: 'NoSchedule' }] } }),
    node('b', { spec: { unschedulable: true } }),
    node('c', { address: '10.0.0.3', spec: { taints: [{ effect: 'PreferNoSchedule' }] } }),
    node('e', { ready: 'Unknown' }),
  )
  expect(findAddresses(nodes, [1, 2])).toEqual([
    { address: '10.0.0.3', hostName: 'mta-1.senders.example', nodeName: 'c' },
    { address: '10.0.0.4', hostName: 'mta-2.senders.example', nodeName: 'd' },
  ])
  expect(() => findAddresses(nodes, [3])).toThrow('the cluster must have 3 nodes that are Ready and take Pods, has 2')
})

test('the default StorageClass, or a sentence that says what there is', () => {
  const fast = { metadata: { name: 'fast', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } }
  const slow = { metadata: { name: 'slow' } }
  expect(findDefaultClass(list(slow, fast))).toBe('fast')
  expect(() => findDefaultClass(list(slow))).toThrow(
    'the cluster must have a default StorageClass, or --storage-class must name one of: slow',
  )
})
