import { FINALIZERS } from '#crds/group.ts'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { SendingStream, SendingStreamStatus } from '#crds/sending-stream.ts'
import { judgePool, type PoolVerdict } from './accept-pool.ts'
import { allocatePorts, type PortParty, type Ports } from './allocate-ports.ts'
import { type Assignment, type Claimant, mayRelease, planAssignments } from './assign-addresses.ts'
import { type Change, type EventNote, type Manifest, refTo, setFinalizers } from './change.ts'
import { isCovered, isSame } from './diff.ts'
import { formatMessages, hasNoVolume, isEmpty, messagesIn } from './drained.ts'
import { planEvents } from './events.ts'
import { judgeStream } from './judge-stream.ts'
import { buildInstanceSpec } from './objects/instance-spec.ts'
import { claimName, instanceName } from './objects/metadata.ts'
import * as children from './objects/stream-children.ts'
import { byAge, findObject, type FleetSnapshot, formatName, instancesOf, isControlledBy, isDeleting, type KubeObject } from './snapshot.ts'

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
}

/**
 * Undefined when there is no such stream. `now` is for transition times alone. `refused`: what the API server said against changes of this
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

  if (isDeleting(stream) && instances.length === 0) return { stream, changes: release(stream), events: [] }

  const verdict = judgePool(fleet, stream)
  const roster = listRoster(stream, instances)
  const childPlan = planChildren(fleet, stream, roster)
  const allotted = planInstances(fleet, stream, roster, verdict)
  const ends = planEnds(fleet, stream, roster)
  const held = childPlan.foreign.length > 0
  const instanceChanges = held ? allotted.changes.filter(({ isNew }) => !isNew) : allotted.changes
  const kept = [...hold(stream), ...childPlan.changes, ...instanceChanges.map(({ change }) => change)]
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
      isMoving: changes.length > 0,
    },
    now,
  )
  const done = refused.length === 0 ? [...instanceChanges.flatMap(({ events: notes }) => notes), ...ends.events] : []
  const events = [...done, ...planEvents(ref, stream.status?.conditions, status.conditions)]
  return { stream, changes, events, ...(isSame(stream.status, status) ? {} : { status }) }
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

/** One instance that is or shall be, and what shall become of it. */
type Entry = {
  readonly name: string
  readonly shard: number
  readonly instance: MTAInstance | undefined
  /** Serves: one of the wanted shards. Leaves: goes when it is empty. Ends: goes now. */
  readonly fate: 'Serves' | 'Leaves' | 'Ends'
}

function listRoster(stream: SendingStream, instances: readonly MTAInstance[]): readonly Entry[] {
  const { primaries, stopPolicy } = stream.spec
  const wanted = isDeleting(stream) ? 0 : primaries
  const surplus = isDeleting(stream) && stopPolicy !== 'HoldAndDrain' ? 'Ends' : 'Leaves'
  const known = new Map(instances.map((instance) => [instance.metadata.name, instance]))
  const serving = Array.from({ length: wanted }, (_, shard): Entry => {
    const name = instanceName(stream.metadata.name, shard)
    return { name, shard, instance: known.get(name), fate: 'Serves' }
  })
  const names = new Set(serving.map((entry) => entry.name))
  const leaving = instances
    .filter((instance) => !names.has(instance.metadata.name))
    .map((instance): Entry => ({ name: instance.metadata.name, shard: instance.spec.shard, instance, fate: surplus }))
  return [...serving, ...leaving]
}

/** Hold wins over scaling down: it says that nothing is to be delivered. */
function modeOf(stream: SendingStream, fate: Entry['fate']): MTAInstanceSpec['mode'] {
  if (stream.spec.stopPolicy === 'Hold') return 'Hold'
  return stream.spec.stopPolicy === 'HoldAndDrain' || fate === 'Leaves' ? 'Drain' : 'Run'
}

type ChildPlan = { readonly changes: readonly Change[]; readonly foreign: readonly string[] }

/** The account and its rights before the instances that use them. */
function planChildren(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): ChildPlan {
  const names = roster.map((entry) => entry.name)
  const wanted: readonly (readonly [readonly KubeObject[], Manifest])[] = [
    [fleet.serviceAccounts, children.buildServiceAccount(stream)],
    [fleet.roles, children.buildRole(stream, names)],
    [fleet.roleBindings, children.buildRoleBinding(stream)],
    [fleet.services, children.buildService(stream)],
    [fleet.disruptionBudgets, children.buildDisruptionBudget(stream)],
  ]
  const judged = wanted.map(([observed, manifest]) => {
    const found = findObject(observed, manifest.metadata.namespace, manifest.metadata.name)
    if (found !== undefined && !isControlledBy(found, stream)) return { foreign: describeForeign(manifest.kind, found) }
    if (found !== undefined && (isDeleting(found) || isCovered(found, { ...manifest, apiVersion: undefined, kind: undefined }))) return {}
    return { change: { kind: 'apply', object: manifest } as const }
  })
  return {
    changes: judged.flatMap(({ change }) => change ?? []),
    foreign: judged.flatMap(({ foreign }) => foreign ?? []),
  }
}

/** An object of our name that is not ours is never taken over: somebody may depend on what it is. */
function describeForeign(kind: string, object: KubeObject | MTAInstance): string {
  const owner = object.metadata.ownerReferences?.find((reference) => reference.controller === true)
  const whose = owner === undefined ? 'nobody' : `${owner.kind} '${owner.name}' (uid ${owner.uid})`
  return `${kind} '${object.metadata.name}' must belong to this stream, but is controlled by ${whose}: delete or rename it`
}

type InstancePlan = {
  readonly changes: readonly { readonly change: Change; readonly isNew: boolean; readonly events: readonly EventNote[] }[]
  readonly foreign: readonly string[]
  /** Names of instances for which there are no ports. */
  readonly unallotted: readonly string[]
}

function planInstances(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[], verdict: PoolVerdict): InstancePlan {
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
      const allotment = { name: entry.name, shard: entry.shard, mode: modeOf(stream, entry.fate), assignment, ports: allotted }
      const change = planInstance(stream, entry, children.buildInstance(stream, entry.name, buildInstanceSpec(stream, allotment)))
      if (change !== undefined) changes.push(change)
    }
  }
  return { changes, foreign, unallotted }
}

function planInstance(stream: SendingStream, entry: Entry, manifest: Manifest): InstancePlan['changes'][number] | undefined {
  const ref = refTo(stream.apiVersion, stream.kind, stream)
  const spec = manifest['spec'] as MTAInstanceSpec
  const { instance } = entry
  if (instance === undefined) {
    const note = `made ${entry.name} for shard ${entry.shard}${spec.nodeName === undefined ? '' : ` on node '${spec.nodeName}'`}`
    const event: EventNote = { regarding: ref, type: 'Normal', reason: 'InstanceCreated', action: 'CreateInstance', note }
    return { change: { kind: 'apply', object: manifest }, isNew: true, events: [event] }
  }
  const { metadata } = manifest
  // A finalizer cannot be added to what is being deleted; there, the spec alone is brought up to date.
  const wanted = isDeleting(instance) ? { ...metadata, finalizers: instance.metadata.finalizers ?? [] } : metadata
  if (isSame(instance.spec, spec) && isCovered(instance.metadata, wanted)) return undefined
  const events = instance.spec.mode !== 'Drain' && spec.mode === 'Drain' ? [drainingEvent(stream, instance)] : []
  return { change: { kind: 'apply', object: { ...manifest, metadata: wanted as Manifest['metadata'] } }, isNew: false, events }
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
    const claimants = roster
      .filter((entry) => entry.fate !== 'Ends')
      .map(({ name, shard, instance, fate }): Claimant => ({
        name,
        shard,
        instance,
        part: fate === 'Serves' && (instance === undefined || !isDeleting(instance)) ? 'Receives' : 'Keeps',
      }))
    return planAssignments(fleet, stream, verdict.pool, claimants)
  }
  const keeps = (instance: MTAInstance) => verdict.because === 'PoolNotFound' || !mayRelease(fleet, instance)
  const existing = roster.flatMap(({ instance }) => instance ?? [])
  return new Map(
    existing.map((instance) => {
      const { nodeName, addresses } = instance.spec
      return [instance.metadata.name, { nodeName, addresses: keeps(instance) ? addresses : [] }]
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
  const nodeOf = (instance: MTAInstance): string | undefined => {
    const assignment = isControlledBy(instance, stream) ? assignments.get(instance.metadata.name) : undefined
    return assignment === undefined ? instance.spec.nodeName : assignment.nodeName
  }
  const fresh = roster
    .filter((entry) => entry.instance === undefined && assignments.has(entry.name))
    .map((entry): PortParty => ({ id: idOf(stream, entry.name), nodeName: assignments.get(entry.name)?.nodeName, ports: undefined }))
  const nodes = new Set([...roster.flatMap(({ instance }) => instance ?? []).map(nodeOf), ...fresh.map(({ nodeName }) => nodeName)])
  const existing = fleet.instances
    .map((instance) => ({ instance, nodeName: nodeOf(instance) }))
    .filter(({ nodeName }) => nodeName === undefined || nodes.has(undefined) || nodes.has(nodeName))
    .toSorted((a, b) => byAge(a.instance, b.instance))
    .map(({ instance, nodeName }): PortParty => ({ id: formatName(instance), nodeName, ports: instance.spec.ports }))
  return allocatePorts([...existing, ...fresh], fleet.settings.ports)
}

const idOf = (stream: SendingStream, name: string): string => `${stream.metadata.namespace ?? ''}/${name}`

/** Surplus instances that have nothing left, and all of them where the stream may leave its mail behind. */
function planEnds(
  fleet: FleetSnapshot,
  stream: SendingStream,
  roster: readonly Entry[],
): { changes: readonly Change[]; events: readonly EventNote[] } {
  const ending = roster.filter(
    ({ instance, fate }) =>
      instance !== undefined && !isDeleting(instance) && (fate === 'Ends' || (fate === 'Leaves' && isEmpty(fleet, instance))),
  )
  const gone = ending.flatMap(({ instance }) => instance ?? [])
  const changes = gone.map((instance): Change => ({ kind: 'delete', ref: refTo(instance.apiVersion, instance.kind, instance) }))
  const regarding = refTo(stream.apiVersion, stream.kind, stream)
  const drained = ending
    .filter(({ fate }) => fate === 'Leaves')
    .map(({ name }): EventNote => ({
      regarding,
      type: 'Normal',
      reason: 'Drained',
      action: 'RemoveInstance',
      note: `${name} has an empty queue and goes`,
    }))
  const left = ending
    .filter(({ fate }) => fate === 'Ends')
    .flatMap(({ instance }) => instance ?? [])
    .filter((instance) => messagesIn(instance) !== 0 && !hasNoVolume(fleet, instance))
  return { changes, events: left.length === 0 ? drained : [...drained, leftEvent(stream, left)] }
}

function leftEvent(stream: SendingStream, left: readonly MTAInstance[]): EventNote {
  const total = left.reduce<number | undefined>((sum, instance) => add(sum, messagesIn(instance)), 0)
  const where = left.map(
    (instance) => `${instance.spec.queue.volumeClaimName ?? claimName(instance.metadata.name)} (${formatMessages(messagesIn(instance))})`,
  )
  return {
    regarding: refTo(stream.apiVersion, stream.kind, stream),
    type: 'Warning',
    reason: 'MailLeft',
    action: 'DeleteStream',
    note: `${formatMessages(total)} not delivered; kept on volume claims ${where.join(', ')}. A stream of the same name takes them up again`,
  }
}

const add = (sum: number | undefined, count: number | undefined): number | undefined =>
  sum === undefined || count === undefined ? undefined : sum + count
