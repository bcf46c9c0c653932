import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { type Change, type EventNote, refTo } from './change.ts'
import { formatMessages, hasNoVolume, isEmpty, messagesIn } from './drained.ts'
import { claimName } from './objects/metadata.ts'
import type { Entry } from './roster.ts'
import { type FleetSnapshot, isDeleting } from './snapshot.ts'
import { mayLeave, mayRetire } from './standbys/ends.ts'
import { isReplicated } from './standbys/shard.ts'

/** Surplus instances that have nothing left, and all of them where the stream may leave its mail behind. */
export function planEnds(
  fleet: FleetSnapshot,
  stream: SendingStream,
  roster: readonly Entry[],
  /** Names of instances that this plan changes: what they said is about what they were. */
  changing: ReadonlySet<string>,
): { changes: readonly Change[]; events: readonly EventNote[] } {
  const ending = roster.filter(
    ({ instance, fate }) =>
      instance !== undefined &&
      !isDeleting(instance) &&
      (fate === 'Ends' || (!changing.has(instance.metadata.name) && mayGo(fleet, stream, instance, fate))),
  )
  const gone = ending.flatMap(({ instance }) => instance ?? [])
  const changes = gone.map((instance): Change => ({ kind: 'delete', ref: refTo(instance.apiVersion, instance.kind, instance) }))
  const regarding = refTo(stream.apiVersion, stream.kind, stream)
  const drained = ending
    .filter(({ fate }) => fate !== 'Ends')
    .map(({ name, fate }): EventNote => ({
      regarding,
      type: 'Normal',
      ...(fate === 'Retires'
        ? { reason: 'StandbyRetired', note: `${name} is a standby too many and goes` }
        : { reason: 'Drained', note: `${name} has an empty queue and goes` }),
      action: 'RemoveInstance',
    }))
  const left = ending
    .filter(({ fate }) => fate === 'Ends')
    .flatMap(({ instance }) => instance ?? [])
    .filter((instance) => messagesIn(instance) !== 0 && !hasNoVolume(fleet, instance))
  return { changes, events: left.length === 0 ? drained : [...drained, leftEvent(stream, left)] }
}

function mayGo(fleet: FleetSnapshot, stream: SendingStream, instance: MTAInstance, fate: Entry['fate']): boolean {
  if (!isReplicated(fleet, stream)) return fate === 'Leaves' && isEmpty(fleet, instance)
  return fate === 'Retires' ? mayRetire(fleet, stream, instance) : fate === 'Leaves' && mayLeave(fleet, stream, instance)
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
