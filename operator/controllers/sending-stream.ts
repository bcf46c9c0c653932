import type { Applied, Change, EventNote } from '#operator/planning/change.ts'
import { planStream } from '#operator/planning/plan-stream.ts'
import type { FleetSnapshot } from '#operator/planning/snapshot.ts'
import type { SendingStream, SendingStreamStatus } from '#crds/sending-stream.ts'
import { applyAll, REFUSED_RECHECK_MILLIS } from './apply-all.ts'
import type { ObjectKey, Requeue } from './controller.ts'

/** One SendingStream: its instances exist, have addresses and ports and the right mode, and it says so. */

export type StreamPorts = {
  /** The fleet now, our own writes included; Secrets that were not seen before are read for this namespace alone. */
  readFleet(namespace: string, signal: AbortSignal): Promise<FleetSnapshot>
  /** Milliseconds since 1970, for transition times only. */
  now(): number
  /** Throws for everything but done and refused: then the whole is tried again. */
  applyChange(change: Change, signal: AbortSignal): Promise<Applied>
  /** The status subresource, with the operator's field owner. */
  reportStream(stream: SendingStream, status: SendingStreamStatus, signal: AbortSignal): Promise<void>
  /** Takes the Event and returns at once; one that cannot be written is counted, and holds nothing up. */
  publish(event: EventNote): void
}

export async function reconcileSendingStream(ports: StreamPorts, key: ObjectKey, signal: AbortSignal): Promise<Requeue> {
  // 1. Read. The stream may be gone: then its children go by their owner references.
  const fleet = await ports.readFleet(key.namespace, signal)

  // 2. Decide. No await between here and the end of the plan.
  const now = ports.now()
  const plan = planStream(fleet, key, now)
  if (plan === undefined) return 'never'

  // 3. Act, then 4. report, in that order: status never runs ahead of the world.
  const refused = await applyAll(ports, plan.changes, signal)
  const report = refused.length === 0 ? plan : (planStream(fleet, key, now, refused) ?? plan)
  if (report.status !== undefined) await ports.reportStream(report.stream, report.status, signal)
  for (const event of report.events) ports.publish(event)
  if (refused.length > 0) return { after: REFUSED_RECHECK_MILLIS }
  return plan.recheckAfter === undefined ? 'never' : { after: plan.recheckAfter }
}
