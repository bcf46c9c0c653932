import { type AgentType, type ConditionInput, type ConditionType, findCondition, mergeConditions } from '#crds/conditions.ts'
import type { MTAInstance, MTAInstanceStatus } from '#crds/mta-instance.ts'
import { judgePool } from './accept-pool.ts'
import { planAssignments } from './assign-addresses.ts'
import { formatMessages, isDrained, messagesIn } from './drained.ts'
import { type Finding, good, judgeRefusals, stuck, summarise, unknown, waits } from './finding.ts'
import { judgePod } from './judge-pod.ts'
import { judgeSecrets } from './judge-secrets.ts'
import { heldBack } from './judge-stream.ts'
import { isManaged } from './objects/address-holder.ts'
import { judgeStandby } from './standbys/judge-standbys.ts'
import { judgeVolume } from './judge-volume.ts'
import { claimantsOf, listRoster } from './roster.ts'
import { findObject, type FleetSnapshot, isDeleting, type Pod, podOf } from './snapshot.ts'

/** The operator's part of an instance's status. The agent's own conditions are read for the summary and never written. */

export type Outlook = {
  /** Why the Pod is to be replaced; undefined when it is as it shall be. */
  readonly outdated: string | undefined
  /** What the API server refused, in its words. */
  readonly refused: readonly string[]
}

export function judgeInstance(fleet: FleetSnapshot, instance: MTAInstance, outlook: Outlook, now: number): MTAInstanceStatus {
  const pod = podOf(fleet, instance)
  const own = [
    judgeAddresses(fleet, instance, now),
    judgeSecrets(fleet, instance),
    judgeVolume(fleet, instance),
    ...judgePodOrForeign(fleet, instance, pod),
  ]
  const before = ownConditions(instance)
  const standby = judgeStandby(fleet, instance)
  const follows = standby.some(({ type, reason }) => type === 'InSync' && reason !== 'Primary')
  const findings = [
    ...judgeRefusals(outlook.refused),
    ...judgeEnd(instance),
    ...own.filter(({ type }) => type !== 'PodReady'),
    ...judgeAgent(instance, own, follows ? askedOfStandby(instance) : ASKED[instance.spec.mode]),
    ...(follows ? judgeFollowing(standby) : []),
    ...own.filter(({ type }) => type === 'PodReady'),
  ]
  const summary = summarise(
    findings,
    follows
      ? { reason: 'Following', message: 'follows its primary, and has all that it has acknowledged' }
      : { reason: 'Serving', message: 'accepts and delivers' },
    before,
  )
  const isSettled = outlook.outdated === undefined && followsSpec(instance)
  const inputs = [
    ...OWN_TYPES.map((type) => asInput(own.find((finding) => finding.type === type) ?? unknown(type, 'NotJudged', 'not looked at yet'))),
    ...standby,
    ...(isSettled ? summary : summary.map((input) => whileMoving(input, outlook))),
  ]
  const { generation } = instance.metadata
  const merged = mergeConditions(before, inputs, generation, now)
  const nodeName = pod?.spec?.nodeName
  return {
    conditions: isSettled ? merged : merged.map((condition) => heldBack(condition, before)),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(pod === undefined ? {} : { podName: pod.metadata.name }),
    ...(nodeName === undefined ? {} : { nodeName }),
  }
}

const OWN_TYPES = ['AddressesAssigned', 'VolumeBound', 'SecretsFound', 'PodScheduled', 'PodRunning'] as const
const STANDBY_TYPES = ['InSync', 'FailoverPossible', 'AcceptingAlone'] as const
const SUMMARY_TYPES = ['Ready', 'Reconciling', 'Stalled'] as const

/** What the operator has written before: the agent writes into the same list. */
export const ownConditions = (instance: MTAInstance) => {
  const types = new Set<string>([...OWN_TYPES, ...STANDBY_TYPES, ...SUMMARY_TYPES])
  return instance.status?.conditions?.filter(({ type }) => types.has(type))
}

const asInput = ({ type, status, reason, message }: Finding): ConditionInput => ({ type: type as ConditionType, status, reason, message })

function judgeAddresses(fleet: FleetSnapshot, instance: MTAInstance, now: number): Finding {
  const addresses = instance.spec.addresses.map(({ address }) => address)
  if (addresses.length > 0) {
    const where = isManaged(instance)
      ? `of shard ${instance.spec.shard}, on the node of its primary`
      : `on node '${instance.spec.nodeName}'`
    return good('AddressesAssigned', 'Assigned', `${addresses.length} ${where}: ${formatSome(addresses)}`)
  }
  const { namespace } = instance.metadata
  const stream = findObject(fleet.streams, namespace, instance.spec.streamRef.name)
  if (stream === undefined)
    return stuck('AddressesAssigned', 'StreamNotFound', `SendingStream '${instance.spec.streamRef.name}' does not exist`)
  const verdict = judgePool(fleet, stream)
  if (verdict.kind === 'refused') return stuck('AddressesAssigned', verdict.because, verdict.message)
  const claimants = claimantsOf(listRoster(fleet, stream, now)).filter((claimant) => claimant.instance !== undefined)
  const shortage = planAssignments(fleet, stream, verdict.pool, claimants).get(instance.metadata.name)?.shortage
  if (shortage === undefined) return waits('AddressesAssigned', 'Assigning', 'addresses are being assigned')
  return shortage.reason === 'AddressesInUse'
    ? waits('AddressesAssigned', shortage.reason, shortage.message)
    : stuck('AddressesAssigned', shortage.reason, shortage.message)
}

const SHOWN_ADDRESSES = 8
const formatSome = (addresses: readonly string[]): string =>
  addresses.length <= SHOWN_ADDRESSES
    ? addresses.join(', ')
    : `${addresses.slice(0, SHOWN_ADDRESSES).join(', ')} and ${addresses.length - SHOWN_ADDRESSES} more`

function judgePodOrForeign(fleet: FleetSnapshot, instance: MTAInstance, pod: Pod | undefined): readonly Finding[] {
  const named = findObject(fleet.pods, instance.metadata.namespace, instance.metadata.name)
  if (named === undefined || pod !== undefined) return judgePod(fleet, instance, pod)
  const message = `Pod '${instance.metadata.name}' exists, but is not this instance's: delete or rename it`
  return [waits('PodScheduled', 'PodMissing', 'there is no Pod yet'), stuck('PodRunning', 'ForeignObject', message)]
}

/** What is on its way out is not Ready, however well it works. */
function judgeEnd(instance: MTAInstance): readonly Finding[] {
  const waiting = formatMessages(messagesIn(instance))
  if (isDeleting(instance)) return [waits('Mode', 'Deleting', `being deleted (${waiting})`)]
  switch (instance.spec.mode) {
    case 'Run':
      return []
    case 'Hold':
      return [{ ...good('Mode', 'Held', `nothing is accepted or delivered; ${waiting} queued`), status: 'False' }]
    case 'Drain':
      return isDrained(instance)
        ? [{ ...good('Mode', 'Drained', 'nothing is accepted, and the queue is empty'), status: 'False' }]
        : [waits('Mode', 'Draining', `nothing is accepted, ${waiting} still to deliver`)]
  }
}

/** What the agent must say for Ready, by mode; in the order of what causes what. A False of the first three is for the admin. */
const ASKED: Record<MTAInstance['spec']['mode'], readonly AgentType[]> = {
  Run: ['CredentialsLoaded', 'AddressesPresent', 'StorageAvailable', 'Accepting', 'Delivering'],
  Drain: ['AddressesPresent', 'StorageAvailable', 'Delivering'],
  Hold: ['StorageAvailable'],
}
/** It neither accepts nor delivers, whatever its mode; addresses of its node must be there when it has to, managed ones come then. */
const askedOfStandby = (instance: MTAInstance): readonly AgentType[] =>
  isManaged(instance) ? ['CredentialsLoaded', 'StorageAvailable'] : ['CredentialsLoaded', 'AddressesPresent', 'StorageAvailable']
const FOR_THE_ADMIN: ReadonlySet<AgentType> = new Set(['CredentialsLoaded', 'AddressesPresent'])

/** A standby that lacks something is not there yet. */
const judgeFollowing = (standby: readonly ConditionInput[]): readonly Finding[] =>
  standby.filter(({ type, status }) => type === 'InSync' && status !== 'True').map((input) => ({ ...input, status: 'False', cure: 'Wait' }))

/** Only a running agent has something to say; what one said that has ended is told by its Pod. */
function judgeAgent(instance: MTAInstance, own: readonly Finding[], asked: readonly AgentType[]): readonly Finding[] {
  if (own.some(({ type, status }) => type === 'PodRunning' && status !== 'True')) return []
  return asked.map((type) => {
    const said = findCondition(instance.status?.conditions, type)
    if (said === undefined) return unknown(type, 'AgentSilent', `the agent has not said yet whether ${type} holds`)
    if (said.status === 'True') return good(type, said.reason, said.message)
    if (said.status === 'Unknown') return unknown(type, said.reason, said.message)
    return FOR_THE_ADMIN.has(type) ? stuck(type, said.reason, said.message) : waits(type, said.reason, said.message)
  })
}

const followsSpec = ({ metadata, status }: MTAInstance): boolean => (status?.agent?.observedGeneration ?? 0) >= (metadata.generation ?? 0)

const whileMoving = (input: ConditionInput, { outdated }: Outlook): ConditionInput => {
  if (input.type !== 'Reconciling' || input.status === 'True') return input
  if (outdated !== undefined) return { type: 'Reconciling', status: 'True', reason: 'PodOutdated', message: outdated }
  return { type: 'Reconciling', status: 'True', reason: 'AgentFollows', message: 'the agent has not taken up the newest spec yet' }
}
