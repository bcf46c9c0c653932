import { type ConditionInput, findCondition, mergeConditions } from '#crds/conditions.ts'
import type { Condition } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream, SendingStreamStatus } from '#crds/sending-stream.ts'
import type { PoolVerdict } from './accept-pool.ts'
import { formatMessages, isDrained } from './drained.ts'
import { type Finding, good, judgeRefusals, stuck, summarise, unknown, waits } from './finding.ts'
import { formatSelector } from './objects/metadata.ts'
import type { Entry } from './roster.ts'
import { type FleetSnapshot, instancesOf, isDeleting } from './snapshot.ts'
import { judgeRecords, judgeStandbys, listShards } from './standbys/judge-standbys.ts'
import { isHolder, isReplicated, shardOf } from './standbys/shard.ts'

/** The status of a stream: its pool's answer, and the sum of what its instances say. A stream is as ready as the least ready of them. */

export type StreamFacts = {
  readonly verdict: PoolVerdict
  /** Sentences about objects of others that stand where ours should. */
  readonly foreign: readonly string[]
  /** Names of instances for which there are no ports. */
  readonly unallotted: readonly string[]
  /** What the API server refused, in its words. */
  readonly refused: readonly string[]
  readonly roster: readonly Entry[]
  /** Whether the plan changes anything. */
  readonly isMoving: boolean
}

export function judgeStream(fleet: FleetSnapshot, stream: SendingStream, facts: StreamFacts, now: number): SendingStreamStatus {
  const instances = instancesOf(fleet, stream)
  const { roster } = facts
  const names = roster.filter(({ fate }) => fate === 'Serves').map(({ name }) => name)
  const serving = instances.filter((instance) => names.includes(instance.metadata.name) && !isDeleting(instance))
  const leaving = instances.filter((instance) => !serving.includes(instance))
  const pool = judgePoolAnswer(facts.verdict)
  const ready = judgeInstances(fleet, names, serving, facts)
  const before = stream.status?.conditions
  const findings = [
    ...judgeRefusals(facts.refused),
    pool,
    ...judgeChildren(facts),
    ...judgeRecords(fleet, stream, roster),
    ...judgeMode(stream, workersOf(fleet, stream, instances)),
    ready,
  ]
  const summary = summarise(findings, wellOf(stream, serving), before)
  const isSettled = !facts.isMoving && leaving.length === 0 && serving.every(followsSpec)
  const inputs = [
    asInput(pool),
    asInput(ready),
    ...judgeStandbys(fleet, stream, roster),
    ...(isSettled ? summary : summary.map((input) => whileMoving(input, leaving))),
  ]
  const { generation } = stream.metadata
  const conditions = mergeConditions(before, inputs, generation, now).map((condition) =>
    isSettled ? condition : heldBack(condition, before),
  )
  const totals = sumQueues(workersOf(fleet, stream, instances))
  const shards = listShards(fleet, stream, instances)
  return {
    conditions,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    // For /scale, which counts what spec.primaries counts.
    replicas: shards.length,
    readyReplicas: shards.filter(({ ready: is }) => is === 'True').length,
    selector: formatSelector(stream),
    shards,
    ...(totals === undefined ? {} : { queue: totals }),
  }
}

/**
 * Ready stays what it was while a change is followed, but speaks of the generation before: `kubectl wait` then waits for the change to have arrived,
 * and an alert on Ready does not ring for it.
 */
export function heldBack(condition: Condition, before: readonly Condition[] | undefined): Condition {
  const earlier = findCondition(before, 'Ready')?.observedGeneration
  if (condition.type !== 'Ready' || condition.status !== 'True' || earlier === undefined) return condition
  return { ...condition, observedGeneration: Math.min(earlier, condition.observedGeneration ?? earlier) }
}

const asInput = ({ type, status, reason, message }: Finding): ConditionInput => ({
  type: type as ConditionInput['type'],
  status,
  reason,
  message,
})

const judgePoolAnswer = (verdict: PoolVerdict): Finding =>
  verdict.kind === 'accepted'
    ? good('PoolAccepted', 'Accepted', `IPPool '${verdict.pool.metadata.name}' serves this stream`)
    : stuck('PoolAccepted', verdict.because, verdict.message)

const judgeChildren = ({ foreign }: StreamFacts): readonly Finding[] =>
  foreign.length === 0 ? [] : [stuck('Children', 'ForeignObject', foreign.join('; '))]

/** What the admin has asked for is no fault: nothing stalls, but a stream that does not serve is not Ready either. */
function judgeMode(stream: SendingStream, instances: readonly MTAInstance[]): readonly Finding[] {
  const waiting = formatMessages(sumQueues(instances)?.messages)
  if (isDeleting(stream)) {
    const names = instances.map((instance) => instance.metadata.name).join(', ')
    return [waits('Mode', 'Deleting', `being deleted with stopPolicy ${stream.spec.stopPolicy}; still there: ${names} (${waiting})`)]
  }
  switch (stream.spec.stopPolicy) {
    case 'None':
      return []
    case 'Hold':
      return [{ ...good('Mode', 'Held', `stopPolicy Hold: nothing is accepted or delivered; ${waiting} queued`), status: 'False' }]
    case 'HoldAndDrain':
      return instances.every(isDrained)
        ? [{ ...good('Mode', 'Drained', 'stopPolicy HoldAndDrain: nothing is accepted, every queue is empty'), status: 'False' }]
        : [waits('Mode', 'Draining', `stopPolicy HoldAndDrain: nothing is accepted, ${waiting} still to deliver`)]
  }
}

function judgeInstances(fleet: FleetSnapshot, names: readonly string[], serving: readonly MTAInstance[], facts: StreamFacts): Finding {
  const ready = serving.filter((instance) => readyOf(instance) === 'True').length
  const count = `${ready} of ${names.length} ready`
  if (facts.unallotted.length > 0) {
    const { first, last } = fleet.settings.ports
    const message = `${count}; the port range ${first} to ${last} of the operator has too few free ports left for ${facts.unallotted.join(', ')}`
    return stuck('InstancesReady', 'PortsExhausted', message)
  }
  if (ready === names.length) return good('InstancesReady', names.length === 0 ? 'ScaledToZero' : 'AllReady', count)
  const troubled = serving.filter((instance) => readyOf(instance) !== 'True')
  const worst = troubled.find((instance) => isTrue(instance, 'Stalled')) ?? troubled[0]
  if (worst !== undefined) return judgeTroubled(worst, count)
  const missing = names.filter((name) => !serving.some((instance) => instance.metadata.name === name))
  return waits('InstancesReady', 'Creating', `${count}; being made: ${missing.join(', ')}`)
}

/** In the words of the instance itself, so that nobody has to look further. */
function judgeTroubled(instance: MTAInstance, count: string): Finding {
  const condition = findCondition(instance.status?.conditions, 'Ready')
  if (condition === undefined) return waits('InstancesReady', 'Creating', `${count}; ${instance.metadata.name} was not looked at yet`)
  const { reason } = condition
  const message = `${count}; ${instance.metadata.name}: ${condition.message}`
  if (isTrue(instance, 'Stalled')) return stuck('InstancesReady', reason, message)
  const finding = condition.status === 'Unknown' ? unknown('InstancesReady', reason, message) : waits('InstancesReady', reason, message)
  return isTrue(instance, 'Reconciling') ? finding : { ...finding, cure: 'None' }
}

/** Those whose queues count: a standby's is a copy of its primary's. */
const workersOf = (fleet: FleetSnapshot, stream: SendingStream, instances: readonly MTAInstance[]): readonly MTAInstance[] =>
  isReplicated(fleet, stream)
    ? instances.filter(({ metadata, spec }) => isHolder(shardOf(fleet, stream, spec.shard).record, metadata.name))
    : instances

function wellOf(stream: SendingStream, serving: readonly MTAInstance[]) {
  const { primaries } = stream.spec
  if (primaries === 0) return { reason: 'ScaledToZero', message: 'primaries is 0: nothing shall run, and nothing does' }
  const standbys = serving.length - primaries
  const follow = standbys === 0 ? '' : `, ${standbys === 1 ? '1 standby follows' : `${standbys} standbys follow`}`
  return { reason: 'Serving', message: `${primaries} of ${primaries} instances accept and deliver${follow}` }
}

const whileMoving = (input: ConditionInput, leaving: readonly MTAInstance[]): ConditionInput => {
  if (input.type !== 'Reconciling' || input.status === 'True') return input
  const waiting = leaving.map(({ metadata, status }) => `${metadata.name} (${formatMessages(status?.agent?.queue?.messages)})`)
  if (waiting.length > 0) {
    return { type: 'Reconciling', status: 'True', reason: 'Draining', message: `on their way out: ${waiting.join(', ')}` }
  }
  return { type: 'Reconciling', status: 'True', reason: 'Applying', message: 'the instances are being brought up to date' }
}

/** Both the operator and the agent speak of the spec as it is now. */
const followsSpec = (instance: MTAInstance): boolean => {
  const { generation = 0 } = instance.metadata
  return (findCondition(instance.status?.conditions, 'Ready')?.observedGeneration ?? 0) >= generation
}

const readyOf = (instance: MTAInstance): 'True' | 'False' | 'Unknown' =>
  findCondition(instance.status?.conditions, 'Ready')?.status ?? 'Unknown'

const isTrue = (instance: MTAInstance, type: 'Stalled' | 'Reconciling'): boolean =>
  findCondition(instance.status?.conditions, type)?.status === 'True'

function sumQueues(instances: readonly MTAInstance[]): SendingStreamStatus['queue'] {
  const queues = instances.flatMap((instance) => instance.status?.agent?.queue ?? [])
  if (queues.length === 0) return undefined
  return queues.reduce((sum, queue) => ({
    messages: sum.messages + queue.messages,
    recipients: sum.recipients + queue.recipients,
    deferred: sum.deferred + queue.deferred,
  }))
}
