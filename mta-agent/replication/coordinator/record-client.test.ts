import { expect, test } from 'vitest'
import type { Lease } from '#kube/resources.ts'
import { leaseWith, openRecordClient } from './record-client.ts'

const lease: Lease = {
  metadata: {
    name: 'news-0',
    namespace: 'mail',
    resourceVersion: '7',
    uid: 'u',
    finalizers: ['mtafleet.io/record'],
    annotations: { 'mtafleet.io/in-sync': '[{"instance":"a","copy":"a1"}]', 'mtafleet.io/forced-epoch': '0', other: 'stays' },
  },
  spec: {
    holderIdentity: 'a/ai',
    leaseTransitions: 4,
    acquireTime: '2026-01-01T00:00:00.000000Z',
    renewTime: '2026-01-01T00:00:00.000000Z',
  },
}
const a = { instance: 'a', copy: 'a1' }
const b = { instance: 'b', copy: 'b1' }
const NOW = '2026-01-02T00:00:00.000000Z'
const { signal } = new AbortController()

test('a claim changes holder, epoch, set and both times, and leaves alone what others wrote', () => {
  const content = { holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b], forcedEpoch: 0 }
  expect(leaseWith(lease, content, NOW)).toEqual({
    metadata: {
      ...lease.metadata,
      annotations: { 'mtafleet.io/in-sync': '[{"instance":"b","copy":"b1"}]', 'mtafleet.io/forced-epoch': '0', other: 'stays' },
    },
    spec: { holderIdentity: 'b/bi', leaseTransitions: 5, acquireTime: NOW, renewTime: NOW },
  })
})

test('a change of the set leaves the time of the reign', () => {
  const content = { holder: { instance: 'a', incarnation: 'ai' }, epoch: 4, inSync: [a, b], forcedEpoch: 0 }
  expect(leaseWith(lease, content, NOW).spec).toEqual({ ...lease.spec, renewTime: NOW })
})

function open(answers: readonly (Lease | undefined)[]) {
  const left = [...answers]
  const put: unknown[] = []
  const record = openRecordClient({
    client: {
      find: async () => left.shift() as never,
      update: async (_, object) => {
        put.push(object.metadata.resourceVersion)
        return object as never
      },
    },
    key: { namespace: 'mail', name: 'news-0' },
    deadlineMillis: 900,
    wall: () => 0,
  })
  return { record, put }
}
const content = { holder: { instance: 'a', incarnation: 'ai' }, epoch: 4, inSync: [a, b], forcedEpoch: 0 }

test('a write goes on the version that was decided on, also when a read that was given up was answered since', async () => {
  const newer = { ...lease, metadata: { ...lease.metadata, resourceVersion: '9' } }
  const { record, put } = open([lease, newer])
  await record.read(signal)
  await record.read(signal)
  await record.write('7', content, signal)
  expect(put).toEqual(['7'])
})

test('a write on a version that was never read is a defect', async () => {
  const { record, put } = open([lease])
  await record.read(signal)
  await expect(record.write('8', content, signal)).rejects.toThrow('the record must be written on a version that was read lately, was 8')
  expect(put).toEqual([])
})

test.each([
  { what: 'is not there', answer: undefined, want: { record: 'missing', because: 'Lease mail/news-0 must be there, was not' } },
  {
    what: 'nobody of ours has written',
    answer: { ...lease, spec: { ...lease.spec, holderIdentity: 'somebody' } },
    want: { record: 'unreadable', because: 'spec.holderIdentity must be INSTANCE/INCARNATION, was "somebody"' },
  },
])('a record that $what', async ({ answer, want }) => {
  expect(await open([answer]).record.read(signal)).toEqual(want)
})
