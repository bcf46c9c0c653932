import type { SendingStreamStatus, ShardFailover } from '#crds/sending-stream.ts'
import type { EventNote, ObjectRef } from '../change.ts'

/** An Event for each change of a primary: which instance, why, how long the shard had nobody, and how much mail it took over. */

type Shards = SendingStreamStatus['shards']

const WORDS: Readonly<Record<ShardFailover['reason'], Pick<EventNote, 'type' | 'reason'> & { readonly why: string }>> = {
  PrimaryLost: { type: 'Warning', reason: 'FailedOver', why: 'the primary before was lost' },
  Switchover: { type: 'Normal', reason: 'SwitchedOver', why: 'the primary before had handed over' },
  Restarted: { type: 'Normal', reason: 'PrimaryRestarted', why: 'it was primary before its restart' },
  Forced: { type: 'Warning', reason: 'PromotedByForce', why: 'an administrator promoted it' },
}

export const planFailoverEvents = (regarding: ObjectRef, before: Shards, after: Shards): readonly EventNote[] =>
  (after ?? []).flatMap(({ shard, lastFailover: is }): readonly EventNote[] => {
    const was = before?.find((one) => one.shard === shard)?.lastFailover
    if (is === undefined || isSame(was, is) || isBeginning(was, is)) return []
    const { why, ...event } = WORDS[is.reason]
    const mail = is.messages === undefined ? '' : ` with ${is.messages} ${is.messages === 1 ? 'message' : 'messages'} in the queue`
    const note = `shard ${shard}: '${is.instance}' is primary${mail}, ${(is.durationMillis / 1000).toFixed(1)} s after the last sign of the one before: ${why}`
    return [{ regarding, ...event, action: 'Failover', note }]
  })

const isSame = (was: ShardFailover | undefined, is: ShardFailover): boolean => was?.instance === is.instance && was.at === is.at

/** The first primary of a shard takes up the record that was made for it. */
const isBeginning = (was: ShardFailover | undefined, is: ShardFailover): boolean => was === undefined && is.reason === 'Restarted'
