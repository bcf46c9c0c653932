import { expect, test } from 'vitest'
import { clusterObjects } from './objects.ts'
import { planNodes } from './plan.ts'

test('a volume is bound to its node and to one disk there, and kept when its claim goes', () => {
  const objects = clusterObjects(planNodes({ nodes: 1, volumesPerNode: 1, volumeMebibytes: 512 })) as Volume[]
  expect(objects.filter(({ kind }) => kind === 'PersistentVolume').at(0)).toEqual({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: 'node1-ssd-1',
      labels: { 'mtafleet.test/node': 'node1', 'mtafleet.test/slot': '1', 'mtafleet.test/size': 'normal' },
    },
    spec: {
      capacity: { storage: '512Mi' },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: 'local-ssd',
      local: { path: '/mnt/ssd/1' },
      nodeAffinity: {
        required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node1'] }] }] },
      },
    },
  })
})

test('every disk of every node has a volume, and no other thing has', () => {
  const objects = clusterObjects(planNodes({ nodes: 2, volumesPerNode: 2, volumeMebibytes: 16 })) as Volume[]
  expect(
    objects
      .filter(({ kind }) => kind === 'PersistentVolume')
      .map(({ metadata, spec }) => [metadata.name, spec.storageClassName, spec.capacity.storage]),
  ).toEqual([
    ['node1-ssd-1', 'local-ssd', '16Mi'],
    ['node1-ssd-2', 'local-ssd', '16Mi'],
    ['node1-ssd-small', 'local-ssd-small', '64Mi'],
    ['node2-ssd-1', 'local-ssd', '16Mi'],
    ['node2-ssd-2', 'local-ssd', '16Mi'],
    ['node2-ssd-small', 'local-ssd-small', '64Mi'],
  ])
})

type Volume = { kind: string; metadata: { name: string }; spec: { storageClassName: string; capacity: { storage: string } } }
