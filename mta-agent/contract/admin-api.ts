import { z } from 'zod'

/** What the agent serves on its admin port, on loopback of its node only: nothing here asks who is calling. */

export const ADMIN_PATHS = {
  /** 200 while the process works; 503 when it should be started anew. */
  live: '/livez',
  /** 200 while mail is accepted; 503, with the reason, while it is not: held, draining, stopping, queue full. */
  ready: '/readyz',
  /** Prometheus text format. */
  metrics: '/metrics',
  /** QueueReport as JSON. */
  queue: '/queue',
} as const

/** One word and a sentence, as in the condition Accepting. */
export const HealthReport = z.object({
  status: z.enum(['ok', 'unavailable']),
  reason: z.string(),
  message: z.string(),
})
export type HealthReport = z.infer<typeof HealthReport>

export const QueueReport = z.object({
  messages: z.int().min(0).describe('Messages with at least one recipient still to be served.'),
  recipients: z.int().min(0).describe('Recipients still to be served.'),
  deferred: z.int().min(0).describe('Recipients that were tried and wait for their next attempt.'),
  contentBytes: z.int().min(0).describe('Bytes of the messages.'),
  inFlight: z.int().min(0).describe('Deliveries being attempted now.'),
  oldestTime: z.iso.datetime().optional().describe('When the oldest message still queued was accepted.'),
})
export type QueueReport = z.infer<typeof QueueReport>
