import { type ConditionInput, findCondition } from '#crds/conditions.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream, SendingStreamStatus, ShardFailover } from '#crds/sending-stream.ts'
import { type Finding, stuck } from '../finding.ts'
import { type Entry, shardsOf } from '../roster.ts'
import { findObject, type FleetSnapshot, instancesOf, isDeleting } from '../snapshot.ts'
import { epochBefore, wasRecorded } from './plan-shards.ts'
import { judgePromotion, type PromotionVerdict } from './requests.ts'
import { isAlive, isHolder, isInSync, isReplicated, isSeenRunning, type ShardFacts, shardOf } from './shard.ts'
import { failoverOf, standbysOf } from './wishes.ts'

/**
 * What there is to say about standbys: of an instance whether its copy is in sync, of its shard and of the stream whether anybody could take over, and whether
 * mail is accepted on one disk alone. From the record and from Pods: a primary that is lost cannot say of itself that it is.
 */

type Shard = ShardFacts & {
  readonly shard: number
  readonly primary: MTAInstance | undefined
  /** Standbys in the set, and of those the ones that work. */
  readonly inSync: readonly string[]
  readonly heirs: readonly string[]
}

function lookAt(fleet: FleetSnapshot, stream: SendingStream, shard: number): Shard {
  const facts = shardOf(fleet, stream, shard)
  const instances = instancesOf(fleet, stream).filter((instance) => instance.spec.shard === shard)
  const primary = instances.find(({ metadata }) => isHolder(facts.record, metadata.name))
  const inSync = instances.filter((one) => one !== primary && isInSync(facts.record, one.metadata.name))
  return {
    ...facts,
    shard,
    primary,
    inSync: inSync.map(({ metadata }) => metadata.name),
    heirs: inSync.filter((one) => !isDeleting(one) && isAlive(fleet, one)).map(({ metadata }) => metadata.name),
  }
}

/** Conditions of the instance and its shard; none in a stream without standbys. */
export function judgeStandby(fleet: FleetSnapshot, instance: MTAInstance): readonly ConditionInput[] {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  if (stream === undefined || !isReplicated(fleet, stream)) return []
  const shard = lookAt(fleet, stream, instance.spec.shard)
  return [
    judgeInSync(shard, instance.metadata.name),
    judgeHeirs([shard], judgePromotion(fleet, stream, instance)),
    judgeAlone(fleet, stream, [shard]),
  ]
}

const judgeInSync = ({ record, unreadable }: Shard, name: string): ConditionInput => {
  if (record === undefined)
    return { type: 'InSync', status: 'Unknown', reason: 'NoRecord', message: unreadable ?? 'the shard has no record yet' }
  if (isHolder(record, name)) return { type: 'InSync', status: 'True', reason: 'Primary', message: `primary of epoch ${record.epoch}` }
  return isInSync(record, name)
    ? { type: 'InSync', status: 'True', reason: 'InSync', message: `has all that '${record.holder.instance}' has acknowledged` }
    : {
        type: 'InSync',
        status: 'False',
        reason: 'OutOfSync',
        message: `does not have all that '${record.holder.instance}' has acknowledged`,
      }
}

/** Conditions of the stream: each as the worst of its shards has it. */
export function judgeStandbys(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): readonly ConditionInput[] {
  if (!isReplicated(fleet, stream)) return []
  const shards = servedShards(roster).map((shard) => lookAt(fleet, stream, shard))
  return [judgeAllInSync(stream, shards), judgeHeirs(shards), judgeAlone(fleet, stream, shards)]
}

const servedShards = (roster: readonly Entry[]): readonly number[] => shardsOf(roster.filter(({ fate }) => fate === 'Serves'))

function judgeAllInSync(stream: SendingStream, shards: readonly Shard[]): ConditionInput {
  const wanted = standbysOf(stream)
  const lacking = shards.filter(({ inSync }) => inSync.length < wanted)
  if (lacking.length === 0)
    return { type: 'InSync', status: 'True', reason: 'InSync', message: 'every standby has all that was acknowledged' }
  const which = lacking.map(({ shard, inSync }) => `shard ${shard} has ${inSync.length} of ${wanted} standbys in sync`)
  return { type: 'InSync', status: 'False', reason: 'OutOfSync', message: some(which) }
}

function judgeHeirs(shards: readonly Shard[], promotion?: PromotionVerdict): ConditionInput {
  const without = shards.filter(({ heirs }) => heirs.length === 0)
  if (without.length === 0) {
    return { type: 'FailoverPossible', status: 'True', reason: 'StandbyInSync', message: 'a standby in sync can take over' }
  }
  const which = without.map(({ shard, record, primary }) =>
    record === undefined
      ? `shard ${shard} has no record`
      : `shard ${shard} has its newest mail on '${record.holder.instance}' alone${primary === undefined ? ', which does not exist any more' : ''}`,
  )
  const asked = promotion?.kind === 'refused' ? `; promotion refused: ${promotion.because}` : ''
  return { type: 'FailoverPossible', status: 'False', reason: 'NoStandbyInSync', message: `${some(which)}${asked}` }
}

function judgeAlone(fleet: FleetSnapshot, stream: SendingStream, shards: readonly Shard[]): ConditionInput {
  const { durability } = failoverOf(stream)
  const alone =
    standbysOf(stream) === 0
      ? []
      : shards.filter(({ record, inSync, primary }) => record !== undefined && inSync.length === 0 && isAlive(fleet, primary))
  if (alone.length === 0)
    return {
      type: 'AcceptingAlone',
      status: 'False',
      reason: 'Copied',
      message: 'what is accepted is on more than one disk, or not accepted',
    }
  const names = some(alone.map(({ primary }) => primary?.metadata.name ?? ''))
  return durability === 'Strict'
    ? {
        type: 'AcceptingAlone',
        status: 'False',
        reason: 'Refusing',
        message: `durability Strict: ${names} accept nothing until a standby is in sync`,
      }
    : { type: 'AcceptingAlone', status: 'True', reason: 'OneDisk', message: `what is accepted is on the disk of ${names} alone` }
}

const SHOWN = 4
const some = (texts: readonly string[]): string =>
  texts.length <= SHOWN ? texts.join(', ') : `${texts.slice(0, SHOWN).join(', ')} and ${texts.length - SHOWN} more`

/** What only a person can mend. */
export function judgeRecords(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): readonly Finding[] {
  if (!isReplicated(fleet, stream)) return []
  return servedShards(roster).flatMap((shard): readonly Finding[] => {
    const { lease, unreadable } = shardOf(fleet, stream, shard)
    if (lease === undefined && wasRecorded(stream, shard)) {
      return [
        stuck(
          'Children',
          'RecordMissing',
          `the record (Lease) of shard ${shard} must exist; it did, and is not made again by itself: ${PAGE}`,
        ),
      ]
    }
    if (unreadable !== undefined) return [stuck('Children', 'RecordUnreadable', `the record of shard ${shard}: ${unreadable}`)]
    return judgeTroubles(fleet, stream, shard)
  })
}

const PAGE = 'docs/standbys-stuck.md says how'

/** What only agents can tell of a record that can be read: they know what stood there before. */
const TROUBLES: Readonly<Record<string, string>> = {
  RecordWentBack: 'names an epoch that is over',
  RecordContradicts: 'names another primary of its epoch than there was',
}

function judgeTroubles(fleet: FleetSnapshot, stream: SendingStream, shard: number): readonly Finding[] {
  const told = instancesOf(fleet, stream).filter((one) => one.spec.shard === shard && isSeenRunning(fleet, one))
  return told.flatMap(({ metadata, status }): readonly Finding[] => {
    const { trouble = '', epoch = 0 } = status?.agent?.replication ?? {}
    const words = TROUBLES[trouble]
    if (words === undefined) return []
    const message = `the record of shard ${shard} ${words}: '${metadata.name}' has seen epoch ${epoch}, and stands still until it is put right: ${PAGE}`
    return [stuck('Children', trouble, message)]
  })
}

type ShardStatus = NonNullable<SendingStreamStatus['shards']>[number]
/** One line for each shard. */
export function listShards(fleet: FleetSnapshot, stream: SendingStream, instances: readonly MTAInstance[]): ShardStatus[] {
  if (!isReplicated(fleet, stream)) return instances.map((instance) => statusOf(instance, instance.spec.shard))
  const shards = [...new Set(instances.map(({ spec }) => spec.shard))].toSorted((a, b) => a - b)
  return shards.map((shard) => {
    const { record } = shardOf(fleet, stream, shard)
    // A record that is gone is not forgotten: it must not be made a second time.
    const epoch = record?.epoch ?? epochBefore(stream, shard)
    const here = instances.filter(({ spec }) => spec.shard === shard)
    const holder = here.find(({ metadata }) => isHolder(record, metadata.name))
    const primary = holder ?? here[0]
    const lastFailover = failoverOfShard(holder, epoch) ?? stream.status?.shards?.find((one) => one.shard === shard)?.lastFailover
    const standbys = {
      standbys: here.filter((one) => one !== primary).map(({ metadata }) => metadata.name),
      ...(epoch === undefined ? {} : { epoch }),
      ...(record === undefined ? {} : { inSync: [...new Set(record.inSync.map(({ instance }) => instance))] }),
      ...(lastFailover === undefined ? {} : { lastFailover }),
    }
    return { ...statusOf(primary, shard), ...standbys }
  })
}

/** As the primary of the epoch says; one of an earlier epoch is no news. */
function failoverOfShard(holder: MTAInstance | undefined, epoch: number | undefined): ShardFailover | undefined {
  const { role, epoch: led, lastFailover } = holder?.status?.agent?.replication ?? {}
  if (holder === undefined || lastFailover === undefined || role !== 'Primary' || led !== epoch) return undefined
  return { ...lastFailover, instance: holder.metadata.name }
}

const statusOf = (instance: MTAInstance | undefined, shard: number): ShardStatus => ({
  shard,
  primary: instance?.metadata.name ?? '',
  ...(instance?.spec.nodeName === undefined ? {} : { nodeName: instance.spec.nodeName }),
  ready: findCondition(instance?.status?.conditions, 'Ready')?.status ?? 'Unknown',
})
