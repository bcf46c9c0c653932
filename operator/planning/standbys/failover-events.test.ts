import { expect, test } from 'vitest'
import type { ShardFailover, ShardStatus } from '#crds/sending-stream.ts'
import type { ObjectRef } from '../change.ts'
import { planFailoverEvents } from './failover-events.ts'

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

test('that the first primary takes up its new record is no news, a failover that follows is', () => {
  const begun = shard(since('2026-05-04T08:00:00Z', 'Restarted'))
  expect([told(undefined, begun), told(shard(), begun)]).toEqual([[], []])
  expect(told(begun, shard(since('2026-05-04T09:00:00Z', 'PrimaryLost')))).toHaveLength(1)
})
