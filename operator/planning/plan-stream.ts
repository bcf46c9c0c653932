import { ANNOTATIONS, FINALIZERS } from '#crds/group.ts'
import type { MTAInstance, MTAInstanceSpec, Ports } from '#crds/mta-instance.ts'
import type { SendingStream, SendingStreamStatus } from '#crds/sending-stream.ts'
import { judgePool, type PoolVerdict } from './accept-pool.ts'
import { allocatePorts, type PortParty } from './allocate-ports.ts'
import { mayRelease } from './address-users.ts'
import { planAssignments } from './assign-addresses.ts'
import { type Assignment, attachmentOf } from './assignment.ts'
import { type Change, type EventNote, type Manifest, refTo, setFinalizers } from './change.ts'
import { isCovered, isSame } from './diff.ts'
import { formatMessages, messagesIn } from './drained.ts'
import { planEvents } from './events.ts'
import { judgeStream } from './judge-stream.ts'
import { buildInstanceSpec } from './objects/instance-spec.ts'
import { describeForeign, planChildren } from './plan-children.ts'
import { planEnds } from './plan-ends.ts'
import { claimantsOf, type Entry, listRoster } from './roster.ts'
import * as children from './objects/stream-children.ts'
import { describePromotion, planFailoverEvents } from './standbys/failover-events.ts'
import { buildReplication, type Member } from './standbys/peers.ts'
import { listLost } from './standbys/lost.ts'
import { fullMayLeaveAfter, requestsTo } from './standbys/requests.ts'
import { planShards, releaseRecords, type ShardPlan } from './standbys/plan-shards.ts'
import { isReplicated } from './standbys/shard.ts'
import { byAge, findObject, type FleetSnapshot, formatName, instancesOf, isControlledBy, isDeleting } from './snapshot.ts'

/**
 * What a stream needs: its children, its instances with node, addresses, ports and mode, and the end of those that are no longer wanted. An
 * instance with mail is never deleted for being surplus: it drains first. Nothing is decided from what cannot be read again after a restart.
 */

export type StreamPlan = {
  readonly stream: SendingStream
  readonly changes: readonly Change[]
  /** Absent when the status would say what it says already. */
  readonly status?: SendingStreamStatus
  readonly events: readonly EventNote[]
  /** Milliseconds until the plan may be another one though nothing has changed. */
  readonly recheckAfter?: number
}

/**
 * Undefined when there is no such stream. `now` is for transition times and for how long a node has been away. `refused`: what the API server said against changes of this
 * very plan, so that the status can tell; it changes nothing else.
 */
export function planStream(
  fleet: FleetSnapshot,
  key: { readonly namespace: string; readonly name: string },
  now: number,
  refused: readonly string[] = [],
): StreamPlan | undefined {
  const stream = findObject(fleet.streams, key.namespace, key.name)
  if (stream === undefined) return undefined
  const ref = refTo(stream.apiVersion, stream.kind, stream)
  const instances = instancesOf(fleet, stream)

  if (isDeleting(stream) && instances.length === 0)
    return { stream, changes: [...releaseRecords(fleet, stream), ...release(stream)], events: [] }

  const verdict = judgePool(fleet, stream)
  const roster = listRoster(fleet, stream, now)
  const childPlan = planChildren(fleet, stream, roster)
  const allotted = planInstances(fleet, stream, roster, { verdict, now })
  const ends = planEnds(fleet, stream, roster, new Set(allotted.changes.map(({ name }) => name)))
  const held = childPlan.foreign.length > 0
  const shards = held ? NO_CHANGES : planShards(fleet, stream, roster)
  const instanceChanges = held ? allotted.changes.filter(({ isNew }) => !isNew) : allotted.changes
  const kept = [...hold(stream), ...childPlan.changes, ...instanceChanges.map(({ change }) => change), ...shards.changes]
  // A refusal ends the list. What a stream that goes still needs must not hold up its going: in a namespace that ends nothing can be made.
  const changes = isDeleting(stream) ? [...ends.changes, ...kept] : [...kept, ...ends.changes]
  const status = judgeStream(
    fleet,
    stream,
    {
      verdict,
      foreign: [...childPlan.foreign, ...allotted.foreign],
      unallotted: allotted.unallotted,
      refused,
      roster,
      isMoving: changes.length > 0,
    },
    now,
  )
  const done = refused.length === 0 ? [...instanceChanges.flatMap(({ events: notes }) => notes), ...shards.events, ...ends.events] : []
  const events = [
    ...done,
    ...planFailoverEvents(ref, stream.status?.shards, status.shards),
    ...planEvents(ref, stream.status?.conditions, status.conditions),
  ]
  return { stream, changes, events, ...(isSame(stream.status, status) ? {} : { status }), ...recheckOf(fleet, stream, now) }
}

const NO_CHANGES: ShardPlan = { changes: [], events: [] }

function recheckOf(fleet: FleetSnapshot, stream: SendingStream, now: number): Pick<StreamPlan, 'recheckAfter'> {
  const waits = [listLost(fleet, stream, now).recheckAfter, fullMayLeaveAfter(fleet, stream, now)].filter((wait) => wait !== undefined)
  return waits.length === 0 ? {} : { recheckAfter: Math.min(...waits) }
}

const finalizersOf = (stream: SendingStream): readonly string[] => stream.metadata.finalizers ?? []

/** Before everything else: a stream whose deletion could not be noticed must make nothing. */
const hold = (stream: SendingStream): readonly Change[] =>
  isDeleting(stream) || finalizersOf(stream).includes(FINALIZERS.drain)
    ? []
    : [setFinalizers(refTo(stream.apiVersion, stream.kind, stream), stream, [...finalizersOf(stream), FINALIZERS.drain])]

const release = (stream: SendingStream): readonly Change[] =>
  finalizersOf(stream).includes(FINALIZERS.drain)
    ? [
        setFinalizers(
          refTo(stream.apiVersion, stream.kind, stream),
          stream,
          finalizersOf(stream).filter((one) => one !== FINALIZERS.drain),
        ),
      ]
    : []

/** Hold wins over scaling down: it says that nothing is to be delivered. */
function modeOf(stream: SendingStream, fate: Entry['fate']): MTAInstanceSpec['mode'] {
  if (stream.spec.stopPolicy === 'Hold') return 'Hold'
  return stream.spec.stopPolicy === 'HoldAndDrain' || fate === 'Leaves' ? 'Drain' : 'Run'
}

type InstancePlan = {
  readonly changes: readonly {
    readonly name: string
    readonly change: Change
    readonly isNew: boolean
    readonly events: readonly EventNote[]
  }[]
  readonly foreign: readonly string[]
  /** Names of instances for which there are no ports. */
  readonly unallotted: readonly string[]
}

function planInstances(
  fleet: FleetSnapshot,
  stream: SendingStream,
  roster: readonly Entry[],
  { verdict, now }: { readonly verdict: PoolVerdict; readonly now: number },
): InstancePlan {
  const assignments = assignAll(fleet, stream, roster, verdict)
  const ports = planPorts(fleet, stream, roster, assignments)
  const changes: InstancePlan['changes'][number][] = []
  const foreign: string[] = []
  const unallotted: string[] = []
  for (const entry of roster) {
    const other = entry.instance ?? findObject(fleet.instances, stream.metadata.namespace, entry.name)
    const assignment = assignments.get(entry.name)
    const allotted = ports.get(idOf(stream, entry.name))
    if (entry.instance === undefined && other !== undefined) foreign.push(describeForeign('MTAInstance', other))
    else if (entry.fate === 'Ends' || assignment === undefined) continue
    else if (allotted === undefined) unallotted.push(entry.name)
    else if (entry.instance === undefined || !isDeleting(entry.instance) || isDeleting(stream)) {
      const spec = buildSpec(fleet, stream, entry, { roster, assignment, ports: allotted, allotted: { assignments, ports } })
      const change = planInstance(
        stream,
        entry,
        children.buildInstance(stream, entry.name, spec, requestsTo(fleet, stream, entry.instance, now)),
      )
      if (change !== undefined) changes.push(change)
    }
  }
  return { changes, foreign, unallotted }
}

type Allotted = { readonly assignments: ReadonlyMap<string, Assignment>; readonly ports: ReadonlyMap<string, Ports> }
type SpecBasis = { readonly roster: readonly Entry[]; readonly assignment: Assignment; readonly ports: Ports; readonly allotted: Allotted }

function buildSpec(fleet: FleetSnapshot, stream: SendingStream, { name, shard, fate }: Entry, basis: SpecBasis): MTAInstanceSpec {
  const { roster, assignment, ports, allotted } = basis
  const allotment = { name, shard, mode: modeOf(stream, fate), assignment, ports }
  if (!isReplicated(fleet, stream)) return buildInstanceSpec(stream, allotment)
  const members = roster
    .filter((entry) => entry.shard === shard && entry.fate !== 'Retires')
    .map((entry): Member => ({
      name: entry.name,
      nodeName: allotted.assignments.get(entry.name)?.nodeName,
      ports: allotted.ports.get(idOf(stream, entry.name)),
    }))
  return buildInstanceSpec(stream, { ...allotment, replication: buildReplication(fleet, stream, { shard, name, members }) })
}

function planInstance(stream: SendingStream, entry: Entry, manifest: Manifest): InstancePlan['changes'][number] | undefined {
  const ref = refTo(stream.apiVersion, stream.kind, stream)
  const spec = manifest['spec'] as MTAInstanceSpec
  const { instance } = entry
  if (instance === undefined) {
    const note = `made ${entry.name} for shard ${entry.shard}${spec.nodeName === undefined ? '' : ` on node '${spec.nodeName}'`}`
    const event: EventNote = { regarding: ref, type: 'Normal', reason: 'InstanceCreated', action: 'CreateInstance', note }
    return { name: entry.name, change: { kind: 'apply', object: manifest }, isNew: true, events: [event] }
  }
  const { metadata } = manifest
  // A finalizer cannot be added to what is being deleted; there, the spec alone is brought up to date.
  const wanted = isDeleting(instance) ? { ...metadata, finalizers: instance.metadata.finalizers ?? [] } : metadata
  if (isSame(instance.spec, spec) && isCovered(instance.metadata, wanted)) return undefined
  const events = [
    ...(instance.spec.mode !== 'Drain' && spec.mode === 'Drain' ? [drainingEvent(stream, instance)] : []),
    ...requestEvents(stream, instance, metadata.annotations ?? {}),
  ]
  return {
    name: entry.name,
    change: { kind: 'apply', object: { ...manifest, metadata: wanted as Manifest['metadata'] } },
    isNew: false,
    events,
  }
}

/** For what was not asked before. */
function requestEvents(stream: SendingStream, instance: MTAInstance, asked: Readonly<Record<string, string>>): readonly EventNote[] {
  const { name, annotations = {} } = instance.metadata
  const newOf = (annotation: string) => (annotations[annotation] === asked[annotation] ? undefined : asked[annotation])
  const [epoch, promotion] = [newOf(ANNOTATIONS.switchover), newOf(ANNOTATIONS.promoteGranted)]
  const events: EventNote[] = []
  const regarding = refTo(stream.apiVersion, stream.kind, stream)
  if (epoch !== undefined) {
    const note = `${name} shall hand over, which ends epoch ${epoch}`
    events.push({ regarding, type: 'Normal', reason: 'SwitchoverAsked', action: 'Switchover', note })
  }
  if (promotion !== undefined) {
    const note = describePromotion(instance, promotion)
    events.push({ regarding, type: 'Warning', reason: 'PromotionForced', action: 'Promote', note })
  }
  return events
}

const drainingEvent = (stream: SendingStream, instance: MTAInstance): EventNote => ({
  regarding: refTo(stream.apiVersion, stream.kind, stream),
  type: 'Normal',
  reason: 'Draining',
  action: 'DrainInstance',
  note: `${instance.metadata.name} accepts nothing more and delivers the ${formatMessages(messagesIn(instance))} in its queue`,
})

/**
 * Where the pool is missing, everybody keeps what they have: a pool deleted by mistake must not stop a stream that works. Where the pool says no,
 * the addresses leave: that is somebody's decision.
 */
function assignAll(
  fleet: FleetSnapshot,
  stream: SendingStream,
  roster: readonly Entry[],
  verdict: PoolVerdict,
): ReadonlyMap<string, Assignment> {
  if (verdict.kind === 'accepted') {
    return planAssignments(fleet, stream, verdict.pool, claimantsOf(roster))
  }
  const keeps = (instance: MTAInstance) => verdict.because === 'PoolNotFound' || !mayRelease(fleet, instance)
  const existing = roster.flatMap(({ instance }) => instance ?? [])
  return new Map(
    existing.map((instance) => {
      const { nodeName, addresses } = instance.spec
      return [instance.metadata.name, { nodeName, addresses: keeps(instance) ? addresses : [], attachment: attachmentOf(instance) }]
    }),
  )
}

/** Ours as they will be, all others on the same nodes as they are. */
function planPorts(
  fleet: FleetSnapshot,
  stream: SendingStream,
  roster: readonly Entry[],
  assignments: ReadonlyMap<string, Assignment>,
): ReadonlyMap<string, Ports> {
  const isOurs = (instance: MTAInstance): boolean => isControlledBy(instance, stream)
  const nodeOf = (instance: MTAInstance): string | undefined => {
    const assignment = isOurs(instance) ? assignments.get(instance.metadata.name) : undefined
    return assignment === undefined ? instance.spec.nodeName : assignment.nodeName
  }
  const replicated = isReplicated(fleet, stream)
  const fresh = roster
    .filter((entry) => entry.instance === undefined && assignments.has(entry.name))
    .map((entry): PortParty => ({
      id: idOf(stream, entry.name),
      nodeName: assignments.get(entry.name)?.nodeName,
      ports: undefined,
      isReplicated: replicated,
    }))
  const nodes = new Set([...roster.flatMap(({ instance }) => instance ?? []).map(nodeOf), ...fresh.map(({ nodeName }) => nodeName)])
  const existing = fleet.instances
    .map((instance) => ({ instance, nodeName: nodeOf(instance) }))
    .filter(({ nodeName }) => nodeName === undefined || nodes.has(undefined) || nodes.has(nodeName))
    .toSorted((a, b) => byAge(a.instance, b.instance))
    .map(({ instance, nodeName }): PortParty => ({
      id: formatName(instance),
      nodeName,
      ports: instance.spec.ports,
      isReplicated: isOurs(instance) ? replicated : instance.spec.replication !== undefined,
    }))
  return allocatePorts([...existing, ...fresh], fleet.settings.ports)
}

const idOf = (stream: SendingStream, name: string): string => `${stream.metadata.namespace ?? ''}/${name}`
