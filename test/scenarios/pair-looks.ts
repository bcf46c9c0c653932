import type { Condition } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { ReplicationStatus } from '#crds/replication.ts'
import type { Accepted } from '#test/internet/load.ts'
import { must, mustEqual } from './scenario.ts'
import type { Stage } from './stage.ts'

/** What an admin sees of a pair: conditions, how its primary became one, and how long clients were without it. */

export type Wanted = { readonly status: Condition['status']; readonly reason?: string; readonly message?: RegExp }

/** Waits until the condition of this object is so, and answers with it. */
export async function conditionIs(stage: Stage, object: `${string}/${string}`, type: string, wanted: Wanted): Promise<Condition> {
  const [kind, name] = object.split('/') as [string, string]
  const { status, reason, message } = wanted
  return await stage.waitFor(`${type}=${status} ${reason ?? ''} of ${object}`, 90_000, async () => {
    const is = await stage.condition(kind, name, type)
    if (is?.status === status && (reason === undefined || is.reason === reason) && (message?.test(is.message) ?? true)) return is
    throw new Error(is === undefined ? 'it had none' : `it was ${is.status} ${is.reason}: ${is.message}`)
  })
}

/** How the instance says that it became primary; waits until it speaks of this epoch. */
export async function lastFailover(
  stage: Stage,
  { name, epoch }: { readonly name: string; readonly epoch: number },
): Promise<NonNullable<ReplicationStatus['lastFailover']>> {
  return await stage.waitFor(`${name} to say how it came to lead epoch ${epoch}`, 30_000, async () => {
    const { status } = await stage.read<MTAInstance>('mtainstance', name)
    const { role, epoch: of, lastFailover: last } = status?.agent?.replication ?? {}
    return role === 'Primary' && of === epoch && last
  })
}

/** What an instance says of itself as one of its shard. */
export async function replicationOf(stage: Stage, instance: string): Promise<Partial<ReplicationStatus>> {
  return (await stage.read<MTAInstance>('mtainstance', instance)).status?.agent?.replication ?? {}
}

/** Reasons of the Events that are about this object. */
export async function eventsOf(stage: Stage, name: string): Promise<readonly string[]> {
  type Event = { readonly reason: string; readonly involvedObject: { readonly name: string } }
  return (await stage.list<Event>('events')).filter(({ involvedObject }) => involvedObject.name === name).map(({ reason }) => reason)
}

/** The longest time between two messages that were accepted one after the other, from the last before `from` on, and when it began. */
export function longestPause(accepted: readonly Accepted[], from: number, to = Number.POSITIVE_INFINITY): Pause {
  const times = accepted.map(({ acceptedAt }) => Date.parse(acceptedAt)).toSorted((a, b) => a - b)
  const first = times.findLastIndex((at) => at <= from)
  const within = times.slice(Math.max(0, first)).filter((at) => at <= to)
  const pauses = within.slice(1).map((at, index) => ({ at: within[index]!, millis: at - within[index]! }))
  return pauses.reduce((longest, one) => (one.millis > longest.millis ? one : longest), { at: from, millis: 0 })
}

export type Pause = { readonly at: number; readonly millis: number }

/** Throws when clients had to wait longer. */
export function mustBeShort(what: string, { at, millis }: Pause, most: number): void {
  must(millis < most, `${what}: a new client must wait less than ${most} ms, waited ${millis} ms from ${new Date(at).toISOString()} on`)
}

/** What of a queue's volume its node needs to know. */
export async function slotOf(stage: Stage, instance: string): Promise<number> {
  const volume = await stage.kubectl('get', 'pvc', `${instance}-queue`, '-o', 'jsonpath={.spec.volumeName}')
  const slot = await stage.kubectl('get', 'pv', volume, '-o', String.raw`jsonpath={.metadata.labels.mtafleet\.test/slot}`)
  mustEqual(`slot of ${volume} is a number`, /^\d+$/.test(slot), true)
  return Number(slot)
}
