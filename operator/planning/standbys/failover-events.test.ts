import { expect, test } from 'vitest'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { ShardFailover, ShardStatus } from '#crds/sending-stream.ts'
import type { ObjectRef } from '../change.ts'
import { describePromotion, planFailoverEvents } from './failover-events.ts'

const stream: ObjectRef = { apiVersion: 'mtafleet.io/v1alpha1', kind: 'SendingStream', namespace: 'mail', name: 'bulk', uid: 'u' }
const shard = (lastFailover?: ShardFailover): ShardStatus[] => [
  { shard: 0, primary: 'bulk-0-a', ready: 'True', ...(lastFailover && { lastFailover }) },
]
const since = (at: string, reason: ShardFailover['reason'], instance = 'bulk-0-b'): ShardFailover => ({
  instance,
  reason,
  at,
  durationMillis: 6240,
  messages: 12,
})
const told = (before: readonly ShardStatus[] | undefined, after: readonly ShardStatus[]) =>
  planFailoverEvents(stream, before && [...before], [...after]).map(({ type, reason, note }) => `${type} ${reason}: ${note}`)

test.each([
  ['PrimaryLost', 'Warning FailedOver', 'the primary before was lost'],
  ['Switchover', 'Normal SwitchedOver', 'the primary before had handed over'],
  ['Restarted', 'Normal PrimaryRestarted', 'it was primary before its restart'],
  ['Forced', 'Warning PromotedByForce', 'an administrator promoted it'],
] as const)('%s is told once, with the instance, the time and the mail', (reason, event, why) => {
  const [before, after] = [shard(since('2026-05-04T08:00:00Z', 'Switchover', 'bulk-0-a')), shard(since('2026-05-04T09:00:00Z', reason))]
  const text = `shard 0: 'bulk-0-b' is primary with 12 messages in the queue, 6.2 s after the last sign of the one before: ${why}`
  expect([told(before, after), told(after, after)]).toEqual([[`${event}: ${text}`], []])
})

test('what an incomplete copy that was promoted lacks is said with the promotion', () => {
  const forced = (copy: 'Complete' | 'Incomplete') => shard({ ...since('2026-05-04T09:00:00Z', 'Forced'), copy })
  const [complete, incomplete] = (['Complete', 'Incomplete'] as const).map((copy) => told(shard(), forced(copy))[0])
  expect(incomplete).toBe(
    `${complete}, with an incomplete copy: what had not been copied to it yet is missing until the disk of the old primary is back, and what it has may have been delivered already and is sent again`,
  )
})

test('what a promotion costs is said when it is granted', () => {
  const instance = (status: 'True' | 'False') =>
    ({
      metadata: { name: 'bulk-0-b' },
      status: { conditions: [{ type: 'InSync', status, reason: 'OutOfSync', message: '', lastTransitionTime: '2026-05-04T08:00:00Z' }] },
    }) as MTAInstance
  const cost =
    'what was accepted since it left the set is missing until the disk of the old primary is back, and what was delivered since then is sent again'
  expect([describePromotion(instance('False'), '7'), describePromotion(instance('True'), '7 incomplete')]).toEqual([
    `bulk-0-b shall be promoted although its copy has not been in the set since 2026-05-04T08:00:00Z: ${cost}`,
    `bulk-0-b shall be promoted although its copy is not in the set: ${cost}; should it be incomplete, what had not been copied to it yet is missing until the disk of the old primary is back, and what it has may have been delivered already and is sent again`,
  ])
})

test('that the first primary takes up its new record is no news, a failover that follows is', () => {
  const begun = shard(since('2026-05-04T08:00:00Z', 'Restarted'))
  expect([told(undefined, begun), told(shard(), begun)]).toEqual([[], []])
  expect(told(begun, shard(since('2026-05-04T09:00:00Z', 'PrimaryLost')))).toHaveLength(1)
})
