import { formatReply } from '../domain/smtp-reply.ts'
import type { Delivery, Millis } from '../queue/queue-store.ts'
import type { Conclusion } from './conclude.ts'
import type { DeliveryLog, DeliveryMetrics } from './ports.ts'

/** What became of mail, for people and for metrics: one line for each recipient. Told only when it is on disk, or it would not be true. */

export type OutcomeListeners = { readonly log: DeliveryLog; readonly metrics: DeliveryMetrics; readonly now: Millis }

export function tellOutcomes(delivery: Delivery, { result, report, ends }: Conclusion, { log, metrics, now }: OutcomeListeners): void {
  const { queueId, destination, attempts, acceptedAt, recipients } = delivery
  const addresses = new Map(recipients.map(({ index, address }) => [index, address]))
  for (const { index, outcome, host, source, protection } of ends) {
    const reason = outcome.kind === 'deferred' ? outcome.scope : outcome.kind === 'bounced' ? outcome.because : ''
    metrics.outcome(outcome.kind, reason)
    if (outcome.kind === 'delivered') metrics.latency((now - acceptedAt) / 1000)
    log.info(
      {
        queueId,
        recipient: addresses.get(index),
        destination,
        source,
        host: host?.name,
        address: host?.address,
        tls: protection,
        reply: formatReply(outcome.reply),
        reason: reason === '' ? undefined : reason,
        attempt: attempts + 1,
        delayMillis: now - acceptedAt,
        nextAttemptAt: outcome.kind === 'deferred' ? result.nextAttemptAt : undefined,
      },
      outcome.kind,
    )
  }
  if (report !== undefined) log.info({ queueId, recipient: report.envelope.recipients[0]?.address }, 'report queued')
}
