import type { IPPool, IPPoolStatus } from '#crds/ip-pool.ts'
import type { EventNote } from '#operator/planning/change.ts'
import { planPool } from '#operator/planning/plan-pool.ts'
import type { FleetSnapshot } from '#operator/planning/snapshot.ts'
import type { ObjectKey, Requeue } from './controller.ts'

/** One IPPool: it says what became of each of its addresses. Giving them out is the business of the stream that it serves. */

export type PoolPorts = {
  /** The fleet now, our own writes included; Secrets that were not seen before are read for this namespace alone. */
  readFleet(namespace: string, signal: AbortSignal): Promise<FleetSnapshot>
  /** Milliseconds since 1970, for transition times only. */
  now(): number
  /** The status subresource, with the operator's field owner. */
  reportPool(pool: IPPool, status: IPPoolStatus, signal: AbortSignal): Promise<void>
  /** Takes the Event and returns at once; one that cannot be written is counted, and holds nothing up. */
  publish(event: EventNote): void
}

export async function reconcileIPPool(ports: PoolPorts, key: ObjectKey, signal: AbortSignal): Promise<Requeue> {
  const fleet = await ports.readFleet(key.namespace, signal)
  const plan = planPool(fleet, key, ports.now())
  if (plan === undefined) return 'never'
  if (plan.status !== undefined) await ports.reportPool(plan.pool, plan.status, signal)
  for (const event of plan.events) ports.publish(event)
  return 'never'
}
