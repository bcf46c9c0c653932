import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { DeliveryMetrics } from './delivery/ports.ts'
import type { Handled } from './queue/handled.ts'
import type { QueueTotals } from './queue/queue-store.ts'
import type { SubmissionMetrics } from './submission/listener.ts'

/** Every metric of the agent. Labels are words from closed sets: no domain, address, user or client ever becomes one. */

export type AgentMetrics = {
  readonly registry: Registry
  readonly submission: SubmissionMetrics
  readonly delivery: DeliveryMetrics
  readonly damaged: Counter
}

export type QueueFacts = {
  readonly totals: () => QueueTotals
  /** undefined where another instance leads the queue and tells. */
  readonly handled: () => Handled | undefined
  readonly inFlight: () => number
  readonly clock: () => number
}

const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30]
const LONG_SECONDS = [0.1, 0.5, 1, 5, 30, 300, 1800, 7200, 28_800, 86_400, 432_000]

export function openMetrics(queue: QueueFacts): AgentMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'mtafleet_agent_' })
  registerQueue(registry, queue)
  registerHandled(registry, queue)
  const damaged = new Counter({
    name: 'mtafleet_agent_queue_damaged_messages_total',
    help: 'Messages found that the disk did not keep as they were accepted.',
    registers: [registry],
  })
  return { registry, submission: submissionMetrics(registry), delivery: deliveryMetrics(registry), damaged }
}

function registerQueue(registry: Registry, { totals, inFlight, clock }: QueueFacts): void {
  const gauge = (name: string, help: string, read: () => number) => {
    const options = { name: `mtafleet_agent_queue_${name}`, help, registers: [registry] }
    const made: Gauge = new Gauge({ ...options, collect: (): void => made.set(read()) })
  }
  gauge('messages', 'Messages with at least one recipient still to be served.', () => totals().messages)
  gauge('recipients', 'Recipients still to be served.', () => totals().recipients)
  gauge('deferred_recipients', 'Recipients that were tried and wait for their next attempt.', () => totals().deferred)
  gauge('content_bytes', 'Bytes of the messages in the queue.', () => totals().contentBytes)
  gauge('in_flight', 'Deliveries being attempted or recorded.', inFlight)
  gauge('oldest_seconds', 'Age of the oldest message in the queue; 0 when there is none.', () => {
    const { oldestAcceptedAt } = totals()
    return oldestAcceptedAt === undefined ? 0 : Math.max(0, (clock() - oldestAcceptedAt) / 1000)
  })
}

/**
 * Counts that go on over restarts and failovers, for they move with the queue. The primary alone tells them: a series that begins with its
 * number is no rise, one that jumps to it from 0 would be.
 */
function registerHandled(registry: Registry, { handled }: QueueFacts): void {
  const made: Counter<'what'> = new Counter({
    name: 'mtafleet_agent_queue_handled_total',
    help: 'What has happened to the mail of this queue, wherever it was led: messages accepted, recipients delivered and bounced, attempts deferred.',
    labelNames: ['what'],
    registers: [registry],
    collect: () => {
      made.reset()
      for (const [what, count] of Object.entries(handled() ?? {})) made.inc({ what }, count)
    },
  })
}

function submissionMetrics(registry: Registry): SubmissionMetrics {
  const registers = [registry]
  return {
    sessions: new Gauge({ name: 'mtafleet_agent_submission_sessions', help: 'Open submission sessions.', registers }),
    messages: new Counter({
      name: 'mtafleet_agent_submission_messages_total',
      help: 'Messages whose DATA was taken, by what became of them.',
      labelNames: ['result'],
      registers,
    }),
    bytes: new Counter({ name: 'mtafleet_agent_submission_bytes_total', help: 'Bytes of accepted messages.', registers }),
    refusals: new Counter({
      name: 'mtafleet_agent_submission_refusals_total',
      help: 'Commands and messages refused, by command and reply code.',
      labelNames: ['at', 'code'],
      registers,
    }),
    authentications: new Counter({
      name: 'mtafleet_agent_submission_authentications_total',
      help: 'Tries to authenticate, by result.',
      labelNames: ['result'],
      registers,
    }),
    acceptSeconds: new Histogram({
      name: 'mtafleet_agent_submission_accept_seconds',
      help: 'From 354 to the reply.',
      buckets: SECONDS,
      registers,
    }),
  }
}

function deliveryMetrics(registry: Registry): DeliveryMetrics {
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name: `mtafleet_agent_delivery_${name}_total`, help, labelNames, registers })
  const outcomes = counter('outcomes', 'Recipients by outcome of an attempt and its reason.', ['outcome', 'reason'])
  const transactions = counter('transactions', 'Transactions by how they ended.', ['end'])
  const connections = counter('connections', 'Connections opened, reused, or that could not be opened.', ['event'])
  const protection = counter('connection_protection', 'Connections by how they are protected.', ['protection'])
  const transactionSeconds = new Histogram({
    name: 'mtafleet_agent_delivery_transaction_seconds',
    help: 'Duration of transactions.',
    buckets: SECONDS,
    registers,
  })
  const latency = new Histogram({
    name: 'mtafleet_agent_delivery_latency_seconds',
    help: 'From accepted to delivered, for each recipient.',
    buckets: LONG_SECONDS,
    registers,
  })
  return {
    outcome: (outcome, reason) => outcomes.inc({ outcome, reason }),
    latency: (seconds) => latency.observe(seconds),
    transaction: (end, seconds) => {
      transactions.inc({ end })
      transactionSeconds.observe(seconds)
    },
    connection: (event) => connections.inc({ event }),
    tls: (kind) => protection.inc({ protection: kind }),
  }
}
