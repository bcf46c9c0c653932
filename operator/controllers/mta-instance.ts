import type { MTAInstance, MTAInstanceStatus } from '#crds/mta-instance.ts'
import type { Applied, Change, EventNote } from '#operator/planning/change.ts'
import { planInstance } from '#operator/planning/plan-instance.ts'
import type { FleetSnapshot } from '#operator/planning/snapshot.ts'
import { applyAll, REFUSED_RECHECK_MILLIS } from './apply-all.ts'
import type { ObjectKey, Requeue } from './controller.ts'

/** One MTAInstance: its volume claim and its Pod are as it wants them, and it says so. */

export type InstancePorts = {
  /** The fleet now, our own writes included; Secrets that were not seen before are read for this namespace alone. */
  readFleet(namespace: string, signal: AbortSignal): Promise<FleetSnapshot>
  /** Milliseconds since 1970. */
  now(): number
  /** Throws for everything but done and refused: then the whole is tried again. */
  applyChange(change: Change, signal: AbortSignal): Promise<Applied>
  /** The operator's part of the status subresource, with the operator's field owner; the agent's part is never in it. */
  reportInstance(instance: MTAInstance, status: MTAInstanceStatus, signal: AbortSignal): Promise<void>
  /** Takes the Event and returns at once; one that cannot be written is counted, and holds nothing up. */
  publish(event: EventNote): void
}

export async function reconcileMTAInstance(ports: InstancePorts, key: ObjectKey, signal: AbortSignal): Promise<Requeue> {
  // 1. Read.
  const fleet = await ports.readFleet(key.namespace, signal)

  // 2. Decide. No await between here and the end of the plan.
  const now = ports.now()
  const plan = planInstance(fleet, key, now)
  if (plan === undefined) return 'never'

  // 3. Act, then 4. report, in that order: status never runs ahead of the world.
  const refused = await applyAll(ports, plan.changes, signal)
  const report = refused.length === 0 ? plan : (planInstance(fleet, key, now, refused) ?? plan)
  if (report.status !== undefined) await ports.reportInstance(report.instance, report.status, signal)
  for (const event of report.events) ports.publish(event)
  if (refused.length > 0) return { after: REFUSED_RECHECK_MILLIS }
  return plan.recheckAfter === undefined ? 'never' : { after: plan.recheckAfter }
}
