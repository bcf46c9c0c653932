import type { AgentType } from '#crds/conditions.ts'
import { planInstance } from '#operator/planning/plan-instance.ts'
import { planPool } from '#operator/planning/plan-pool.ts'
import { planStream } from '#operator/planning/plan-stream.ts'
import type { FleetSnapshot } from '#operator/planning/snapshot.ts'
import { agentsFollow, applyChanges, NOW, podsRun } from './fleet.ts'

/** The operator's loop on values: every object is planned and its plan applied, as often as it takes until nothing changes any more. */

const keyOf = ({ metadata }: { readonly metadata: { readonly name: string; readonly namespace?: string } }) => ({
  name: metadata.name,
  namespace: metadata.namespace ?? '',
})

export type Round = { readonly fleet: FleetSnapshot; readonly writes: number; readonly said: readonly string[] }

/** Plans every object once, each from what the one before it has left. */
export function planOnce(before: FleetSnapshot, now: number = NOW): Round {
  const streams = before.streams.reduce((round, stream) => step(round, planStream(round.fleet, keyOf(stream), now)), start(before))
  const instances = streams.fleet.instances.reduce(
    (round, instance) => step(round, planInstance(round.fleet, keyOf(instance), now)),
    streams,
  )
  return instances.fleet.pools.reduce((round, pool) => step(round, planPool(round.fleet, keyOf(pool), now)), instances)
}

/** The world follows between the rounds: Pods run, agents say what they do. Throws when there is no end to it. */
export function settle(before: FleetSnapshot, world: (fleet: FleetSnapshot) => FleetSnapshot = wellBehaved): FleetSnapshot {
  let fleet = before
  for (let round = 0; round < 40; round++) {
    const planned = planOnce(world(fleet))
    fleet = planned.fleet
    if (planned.writes === 0) return fleet
  }
  throw new Error('the fleet must settle within 40 rounds, it did not')
}

export const wellBehaved = (fleet: FleetSnapshot): FleetSnapshot => agentsFollow(podsRun(fleet))

const start = (fleet: FleetSnapshot): Round => ({ fleet, writes: 0, said: [] })

type AnyPlan = NonNullable<ReturnType<typeof planStream> | ReturnType<typeof planInstance> | ReturnType<typeof planPool>>

function step(round: Round, plan: AnyPlan | undefined): Round {
  if (plan === undefined) return round
  const changes = 'changes' in plan ? plan.changes : []
  const reported = plan.status === undefined ? round.fleet : report(round.fleet, plan)
  return {
    fleet: applyChanges(reported, changes),
    writes: round.writes + changes.length + (plan.status === undefined ? 0 : 1),
    said: [...round.said, ...plan.events.map(({ reason, note }) => `${reason}: ${note}`)],
  }
}

const AGENT_TYPES: ReadonlySet<string> = new Set<AgentType>([
  'Accepting',
  'Delivering',
  'AddressesPresent',
  'StorageAvailable',
  'CredentialsLoaded',
  'Drained',
])

/** Server-side apply of the operator's part: the agent's part stays, and what the operator says no longer goes. */
function report(fleet: FleetSnapshot, plan: AnyPlan): FleetSnapshot {
  if ('stream' in plan) return { ...fleet, streams: fleet.streams.map((one) => merge(one, plan.stream.metadata.uid, plan.status)) }
  if ('pool' in plan) return { ...fleet, pools: fleet.pools.map((one) => merge(one, plan.pool.metadata.uid, plan.status)) }
  return {
    ...fleet,
    instances: fleet.instances.map((one) => {
      if (one.metadata.uid !== plan.instance.metadata.uid) return one
      const agents = (one.status?.conditions ?? []).filter(({ type }) => AGENT_TYPES.has(type))
      const { agent } = one.status ?? {}
      return {
        ...one,
        status: { ...plan.status, conditions: [...agents, ...(plan.status?.conditions ?? [])], ...(agent === undefined ? {} : { agent }) },
      }
    }),
  }
}

const merge = <T extends { readonly metadata: { readonly uid?: string } }, S>(object: T, uid: string | undefined, status: S): T =>
  object.metadata.uid === uid ? { ...object, status } : object
