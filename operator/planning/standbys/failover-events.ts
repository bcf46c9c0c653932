import { parsePromotion } from '#agent/contract/requests.ts'
import { findCondition } from '#crds/conditions.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
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
    const cost = is.copy === 'Incomplete' ? `, with an incomplete copy: ${COST_OF_INCOMPLETE}` : ''
    const mail = is.messages === undefined ? '' : ` with ${is.messages} ${is.messages === 1 ? 'message' : 'messages'} in the queue`
    const note = `shard ${shard}: '${is.instance}' is primary${mail}, ${(is.durationMillis / 1000).toFixed(1)} s after the last sign of the one before: ${why}${cost}`
    return [{ regarding, ...event, action: 'Failover', note }]
  })

const COST_OF_INCOMPLETE =
  'what had not been copied to it yet is missing until the disk of the old primary is back, and what it has may have been delivered already and is sent again'

/** What an administrator's word costs (R9), said when it is passed on. `granted`: the annotation's value. */
export function describePromotion({ metadata, status }: MTAInstance, granted: string): string {
  const inSync = findCondition(status?.conditions, 'InSync')
  const since = inSync?.status === 'False' ? `has not been in the set since ${inSync.lastTransitionTime}` : 'is not in the set'
  const cost = `what was accepted since it left the set is missing until the disk of the old primary is back, and what was delivered since then is sent again`
  const incomplete = parsePromotion(granted)?.incompleteToo === true ? `; should it be incomplete, ${COST_OF_INCOMPLETE}` : ''
  return `${metadata.name} shall be promoted although its copy ${since}: ${cost}${incomplete}`
}

const isSame = (was: ShardFailover | undefined, is: ShardFailover): boolean => was?.instance === is.instance && was.at === is.at

/** The first primary of a shard takes up the record that was made for it. */
const isBeginning = (was: ShardFailover | undefined, is: ShardFailover): boolean => was === undefined && is.reason === 'Restarted'
