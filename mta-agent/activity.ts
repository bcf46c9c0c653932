import { formatTime } from '#crds/conditions.ts'
import type { QueueReport } from './contract/admin-api.ts'
import type { Scheduler } from './delivery/ports.ts'
import type { Activity } from './health.ts'
import type { QueueStore } from './queue/queue-store.ts'
import type { Settings } from './settings.ts'
import type { Shard } from './shard.ts'
import type { Submission } from './submission/listener.ts'

/** What the agent is doing now, asked of the parts that do it: for its health check, its admin port and its report. */

/** Those that mail passes, and the shard, which says whether it may. */
export type MailParts = {
  readonly store: Pick<QueueStore, 'room' | 'totals'>
  readonly submission: Pick<Submission, 'receiving'>
  readonly scheduler: Pick<Scheduler, 'inFlight'>
  readonly shard: Pick<Shard, 'activity'> | undefined
}

export function activityOf(
  { settings, stopping }: { readonly settings: Settings; readonly stopping: boolean },
  { store, submission, scheduler, shard }: MailParts,
): Activity {
  return {
    mode: settings.submission.mode,
    stopping,
    room: store.room(0),
    totals: store.totals(),
    receiving: submission.receiving(),
    inFlight: scheduler.inFlight(),
    ...(shard && { member: shard.activity() }),
  }
}

export function queueReport({ store, scheduler }: Pick<MailParts, 'store' | 'scheduler'>): QueueReport {
  const { oldestAcceptedAt, ...totals } = store.totals()
  const oldest = oldestAcceptedAt === undefined ? {} : { oldestTime: formatTime(oldestAcceptedAt) }
  return { ...totals, inFlight: scheduler.inFlight(), ...oldest }
}
