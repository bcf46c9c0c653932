import type { Millis } from '../queue/queue-store.ts'
import type { DeliveryMetrics, Permission, Tuning } from './ports.ts'

/** What delivery works by where nobody says otherwise. */

const MINUTE: Millis = 60_000

/** RFC 5321 section 4.5.3.2 where it names a time. */
export const DEFAULT_TUNING: Tuning = {
  timeouts: {
    connect: MINUTE / 2,
    greeting: 5 * MINUTE,
    ehlo: 5 * MINUTE,
    tls: MINUTE,
    mail: 5 * MINUTE,
    rcpt: 5 * MINUTE,
    data: 2 * MINUTE,
    block: 3 * MINUTE,
    dot: 10 * MINUTE,
    close: 5_000,
  },
  idleMillis: MINUTE,
  maxTransactions: 500,
  smtpPort: 25,
  loopback: 'own',
}

/** An agent without standbys needs nobody's word. */
export const ALWAYS: Permission = { mayStart: () => true, mayAct: () => true }

export const NO_METRICS: DeliveryMetrics = {
  outcome: () => undefined,
  latency: () => undefined,
  transaction: () => undefined,
  connection: () => undefined,
  tls: () => undefined,
}
