import { API_VERSION, FINALIZERS } from '#crds/group.ts'
import type { MTAInstance, MTAInstanceStatus } from '#crds/mta-instance.ts'
import { type Change, type EventNote, type Manifest, type ObjectRef, refTo, setFinalizers } from './change.ts'
import { isSame } from './diff.ts'
import { formatMessages, isDrained, messagesIn } from './drained.ts'
import { planEvents } from './events.ts'
import { judgeInstance, ownConditions } from './judge-instance.ts'
import { judgeSecrets } from './judge-secrets.ts'
import { claimName } from './objects/metadata.ts'
import { buildPod } from './objects/pod.ts'
import { buildVolumeClaim, isClaimOf } from './objects/volume-claim.ts'
import { growClaim } from './grow-claim.ts'
import { explainOutdated, findWaitedFor, isReady } from './rollout.ts'
import { planCertificate } from './standbys/certificates.ts'
import { isAlone, isSpareCopy, mustLeaveSet } from './standbys/ends.ts'
import { planSwitchover } from './standbys/requests.ts'
import { findObject, type FleetSnapshot, hasEnded, isDeleting, type Pod, podOf, type VolumeClaim } from './snapshot.ts'

/**
 * What one instance needs: its volume claim and its Pod. There is never a second Pod while the first may still run: one is made only when no Pod
 * of that name exists. A Pod that works is replaced only while every other one of the stream is ready, and one at a time.
 */

export type InstancePlan = {
  readonly instance: MTAInstance
  readonly changes: readonly Change[]
  /** Absent when the status would say what it says already. */
  readonly status?: MTAInstanceStatus
  readonly events: readonly EventNote[]
  /** Milliseconds until the plan may be another one though nothing has changed. */
  readonly recheckAfter?: number
}

/** How long a Pod that has ended stays, so that one which ends at once is not made again in a hot loop, and people can look at it. */
const ENDED_POD_STAYS_MILLIS = 15_000

/**
 * Undefined when there is no such instance. `refused`: what the API server said against changes of this very plan, so that the status can tell;
 * it changes nothing else.
 */
export function planInstance(
  fleet: FleetSnapshot,
  key: { readonly namespace: string; readonly name: string },
  now: number,
  refused: readonly string[] = [],
): InstancePlan | undefined {
  const instance = findObject(fleet.instances, key.namespace, key.name)
  if (instance === undefined) return undefined
  const pod = podOf(fleet, instance)

  // Before everything else, so that nothing else can keep it from going.
  const steps = isDeleting(instance) && mayGo(fleet, instance) ? planEnd(fleet, instance) : planLife(fleet, instance, pod, now)
  const status = judgeInstance(fleet, instance, { outdated: steps.outdated, refused }, now)
  const events = [...(refused.length === 0 ? steps.events : []), ...planEvents(refOf(instance), ownConditions(instance), status.conditions)]
  return {
    instance,
    changes: steps.changes,
    events,
    ...(isReported(instance, status) ? {} : { status }),
    ...(steps.recheckAfter === undefined ? {} : { recheckAfter: steps.recheckAfter }),
  }
}

const refOf = (instance: MTAInstance): ObjectRef => refTo(API_VERSION, 'MTAInstance', instance)

const isReported = (instance: MTAInstance, status: MTAInstanceStatus): boolean => {
  const { observedGeneration, podName, nodeName } = instance.status ?? {}
  const reported = {
    conditions: ownConditions(instance)?.toSorted((a, b) => (a.type < b.type ? -1 : 1)),
    observedGeneration,
    podName,
    nodeName,
  }
  return isSame(reported, status)
}

type Steps = {
  readonly changes: readonly Change[]
  readonly events: readonly EventNote[]
  readonly outdated: string | undefined
  readonly recheckAfter?: number
}

const NOTHING: Steps = { changes: [], events: [], outdated: undefined }

/**
 * A stream that drains when it is deleted drains its instances first, whoever deleted them. Where the claim is gone there is nothing to drain: so a
 * namespace that is being deleted does not wait for ever.
 */
function mayGo(fleet: FleetSnapshot, instance: MTAInstance): boolean {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  const mustDrain = stream !== undefined && isDeleting(stream) && stream.spec.stopPolicy === 'HoldAndDrain'
  if (!mustDrain) return true
  const claim = claimOf(fleet, instance)
  return isDrained(instance) || claim === undefined || isDeleting(claim) || claim.spec?.volumeName === undefined
}

const claimOf = (fleet: FleetSnapshot, instance: MTAInstance): VolumeClaim | undefined =>
  findObject(fleet.claims, instance.metadata.namespace, instance.spec.queue.volumeClaimName ?? claimName(instance.metadata.name))

/** The Pod, then the claim if it may go, then the name. */
function planEnd(fleet: FleetSnapshot, instance: MTAInstance): Steps {
  const pod = podOf(fleet, instance)
  if (pod !== undefined) return isDeleting(pod) ? NOTHING : { ...NOTHING, changes: [deletePod(pod)] }
  if (mustLeaveSet(fleet, instance)) return NOTHING
  const rest = (instance.metadata.finalizers ?? []).filter((finalizer) => finalizer !== FINALIZERS.drain)
  if (rest.length === (instance.metadata.finalizers ?? []).length) return NOTHING
  const claim = claimOf(fleet, instance)
  const goes = claim !== undefined && mayDeleteClaim(fleet, instance, claim)
  const release = setFinalizers(refOf(instance), instance, rest)
  const changes: readonly Change[] =
    goes && !isDeleting(claim) ? [{ kind: 'delete', ref: refTo('v1', 'PersistentVolumeClaim', claim) }, release] : [release]
  return { ...NOTHING, changes, events: claim === undefined ? [] : [endEvent(instance, claim, goes)] }
}

function endEvent(instance: MTAInstance, { metadata: { name } }: VolumeClaim, goes: boolean): EventNote {
  const told = { regarding: refOf(instance), type: 'Normal', action: 'DeleteInstance' } as const
  if (goes) return { ...told, reason: 'VolumeDeleted', note: `the queue is empty; volume claim '${name}' goes too` }
  const left = formatMessages(isDrained(instance) ? 0 : messagesIn(instance))
  return { ...told, reason: 'VolumeKept', note: `volume claim '${name}' stays, with ${left}` }
}

const mayDeleteClaim = (fleet: FleetSnapshot, instance: MTAInstance, claim: VolumeClaim): boolean =>
  instance.spec.queue.volumeRetention === 'DeleteWhenEmpty' &&
  (instance.spec.replication === undefined || isAlone(fleet, instance) ? isDrained(instance) : isSpareCopy(fleet, instance)) &&
  isClaimOf(claim, instance.spec.streamRef.name, instance.metadata.name)

const deletePod = (pod: Pod): Change => ({ kind: 'delete', ref: refTo('v1', 'Pod', pod) })

function planLife(fleet: FleetSnapshot, instance: MTAInstance, pod: Pod | undefined, now: number): Steps {
  const certificate = planCertificate(fleet, instance, now)
  const steps = planWork(fleet, instance, pod, now)
  const rechecks = [certificate.recheckAfter, steps.recheckAfter].filter((millis) => millis !== undefined)
  return {
    ...steps,
    changes: [...certificate.changes, ...steps.changes],
    ...(rechecks.length === 0 ? {} : { recheckAfter: Math.min(...rechecks) }),
  }
}

function planWork(fleet: FleetSnapshot, instance: MTAInstance, pod: Pod | undefined, now: number): Steps {
  const claim = planClaim(fleet, instance)
  if (claim === 'Foreign') return NOTHING
  const desired = buildPod(instance, fleet.settings, claimOf(fleet, instance)?.metadata.uid)
  const steps = pod === undefined ? planNewPod(fleet, instance, desired) : planExistingPod(fleet, instance, { pod, desired, now })
  return { ...steps, changes: [...claim, ...steps.changes] }
}

/** Made just before the first Pod, which names it: a volume is chosen when the Pod is placed. */
function planClaim(fleet: FleetSnapshot, instance: MTAInstance): readonly Change[] | 'Foreign' {
  const claim = claimOf(fleet, instance)
  if (claim === undefined) return mayStart(fleet, instance) ? [{ kind: 'create', object: buildVolumeClaim(instance) }] : []
  if (!isClaimOf(claim, instance.spec.streamRef.name, instance.metadata.name)) return 'Foreign'
  const grown = growClaim(fleet, instance, claim)
  return grown === undefined ? [] : [{ kind: 'apply', object: grown }]
}

/** A Pod without a node, an address or its Secrets could do nothing but fail; one that runs already is left alone when it loses them. */
const mayStart = (fleet: FleetSnapshot, instance: MTAInstance): boolean =>
  !isDeleting(instance) &&
  instance.spec.nodeName !== undefined &&
  instance.spec.addresses.length > 0 &&
  findObject(fleet.nodes, undefined, instance.spec.nodeName) !== undefined &&
  judgeSecrets(fleet, instance).status === 'True'

function planNewPod(fleet: FleetSnapshot, instance: MTAInstance, desired: Manifest): Steps {
  const named = findObject(fleet.pods, instance.metadata.namespace, instance.metadata.name)
  const isBlocked = named !== undefined || !hasClaim(fleet, instance)
  return isBlocked || !mayStart(fleet, instance) ? NOTHING : { ...NOTHING, changes: [{ kind: 'create', object: desired }] }
}

/** The Pod tells the agent which claim it is. It would keep one that is being deleted from going, and then lose it. */
const hasClaim = (fleet: FleetSnapshot, instance: MTAInstance): boolean => {
  const claim = claimOf(fleet, instance)
  return claim?.metadata.uid !== undefined && !isDeleting(claim)
}

function planExistingPod(fleet: FleetSnapshot, instance: MTAInstance, at: { pod: Pod; desired: Manifest; now: number }): Steps {
  const { pod, desired, now } = at
  if (isDeleting(pod)) return NOTHING
  if (hasEnded(pod)) return planEndedPod(instance, pod, now)
  const why = explainOutdated(pod, desired)
  if (why === undefined) return NOTHING
  const wait = isReady(pod) ? (findWaitedFor(fleet, instance) ?? waitsForHeir(fleet, instance, now)) : undefined
  if (wait !== undefined) return { ...NOTHING, outdated: `the Pod is to be replaced (${why}), after ${wait}` }
  const event: EventNote = { regarding: refOf(instance), type: 'Normal', reason: 'PodReplaced', action: 'ReplacePod', note: why }
  return { changes: [deletePod(pod)], events: [event], outdated: `the Pod is being replaced (${why})` }
}

/** A primary has handed over before its Pod goes, where there is somebody to hand over to. */
function waitsForHeir(fleet: FleetSnapshot, instance: MTAInstance, now: number): string | undefined {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  const handover = stream === undefined ? undefined : planSwitchover(fleet, stream, instance, now)
  return handover === undefined ? undefined : `the switchover to ${handover.heir}`
}

function planEndedPod(instance: MTAInstance, pod: Pod, now: number): Steps {
  const left = endedAt(pod) + ENDED_POD_STAYS_MILLIS - now
  if (left > 0) return { ...NOTHING, recheckAfter: left }
  const note = `the Pod has ended: ${pod.status?.message ?? pod.status?.reason ?? pod.status?.phase}`
  const event: EventNote = { regarding: refOf(instance), type: 'Warning', reason: 'PodReplaced', action: 'ReplacePod', note }
  return { ...NOTHING, changes: [deletePod(pod)], events: [event] }
}

/** The last thing that happened to it, by its own conditions; it was made, at the least. */
const endedAt = (pod: Pod): number => {
  const times = [pod.metadata.creationTimestamp, ...(pod.status?.conditions ?? []).map(({ lastTransitionTime }) => lastTransitionTime)]
  return Math.max(...times.flatMap((time) => (time === undefined ? [] : Date.parse(time))))
}
