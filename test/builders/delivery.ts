import type { Envelope, Recipient } from '#agent/domain/envelope.ts'
import type { DeliveryMetrics, DeliverySettings, Scheduler, SchedulerOptions, SmtpTimeouts, Tuning } from '#agent/delivery/ports.ts'
import { openScheduler } from '#agent/delivery/scheduler.ts'
import { DEFAULT_TUNING } from '#agent/delivery/tuning.ts'
import type { NewMessage } from '#agent/queue/queue-store.ts'
import { type MemoryQueue, openMemoryQueue } from './memory-queue.ts'
import { recipient } from './queue.ts'

/** Delivery with everything around it that a test does not care about. */

let messages = 0

export function message(
  to: readonly (string | Recipient)[],
  envelope: Partial<Envelope> = {},
  body = 'Hello\r\n.\r\n..two\r\n',
): NewMessage {
  messages += 1
  return {
    envelope: {
      sender: 'sender@example.org',
      recipients: to.map((one) => (typeof one === 'string' ? recipient(one) : one)),
      body: '7BIT',
      smtpUtf8: false,
      ...envelope,
    },
    content: Buffer.from(`From: sender@example.org\r\nSubject: number ${messages}\r\nMessage-ID: <${messages}@example.org>\r\n\r\n${body}`),
    acceptedAt: Date.now(),
  }
}

/** Source address 127.0.0.5, every domain to one next hop. */
export const settings = (
  nextHop: { readonly address: string; readonly port: number } | undefined,
  rest: Partial<DeliverySettings> = {},
): DeliverySettings => ({
  mode: 'Run',
  addresses: [{ address: '127.0.0.5', hostName: 'out5.example.org' }],
  delivery: { maxConnectionsPerDestination: 20, maxMessagesPerConnection: 100 },
  ...(nextHop === undefined ? {} : { routes: [{ domain: '*', nextHop: { host: nextHop.address, port: nextHop.port } }] }),
  queue: { retrySeconds: [300], maxAgeSeconds: 432_000 },
  ...rest,
})

export type LogLine = { readonly message: string; readonly facts: Readonly<Record<string, unknown>> }

export type Running = AsyncDisposable & {
  readonly queue: MemoryQueue
  readonly scheduler: Scheduler
  readonly lines: readonly LogLine[]
  /** Every call of the metrics, as `transaction completed`. */
  readonly counted: readonly string[]
  /** Moves the wall clock on, and lets the scheduler see it. */
  advance(millis: number): void
  change(settings: DeliverySettings): void
}

export function startDelivery(first: DeliverySettings, rest: Partial<SchedulerOptions> = {}): Running {
  let current = first
  let offset = 0
  const queue = openMemoryQueue()
  const lines: LogLine[] = []
  const counted: string[] = []
  const log = (facts: object, text: string): void => void lines.push({ message: text, facts: { ...facts } })
  const metrics: DeliveryMetrics = {
    outcome: (kind, reason) => void counted.push(reason === '' ? kind : `${kind} ${reason}`),
    latency: () => undefined,
    transaction: (end) => void counted.push(`transaction ${end}`),
    connection: (event) => void counted.push(`connection ${event}`),
    tls: (protection) => void counted.push(`tls ${protection}`),
  }
  const scheduler = openScheduler({
    store: queue,
    settings: () => current,
    log: { info: log, warn: log, error: log },
    metrics,
    clock: () => Date.now() + offset,
    random: () => 0.5,
    signal: new AbortController().signal,
    onBroken: (cause) => {
      throw cause
    },
    ...rest,
  })
  return {
    queue,
    scheduler,
    lines,
    counted,
    advance(millis) {
      offset += millis
      scheduler.reconfigure()
    },
    change(next) {
      current = next
      scheduler.reconfigure()
    },
    [Symbol.asyncDispose]: () => scheduler.stop(0),
  }
}

/** Tuning in which some stages wait only so long; the others wait as ever, so that a slow machine changes no outcome. */
export const impatient = (timeouts: Partial<SmtpTimeouts>): Pick<Tuning, 'timeouts'> => ({
  timeouts: { ...DEFAULT_TUNING.timeouts, ...timeouts },
})

export const isEmpty = (queue: MemoryQueue): boolean => queue.totals().messages === 0
export const afterSettles =
  (count: number) =>
  (queue: MemoryQueue): boolean =>
    queue.settled.length >= count

/** What was settled, in words: `user@example.com`-less, index and reply. */
export const outcomesOf = (queue: MemoryQueue): string[] =>
  queue.settled.flatMap(({ outcomes }) =>
    outcomes.map(({ index, outcome }) => {
      const why = outcome.kind === 'deferred' ? ` ${outcome.scope}` : outcome.kind === 'bounced' ? ` ${outcome.because}` : ''
      return `${index} ${outcome.kind}${why} ${outcome.reply.code}${outcome.reply.enhanced === undefined ? '' : ` ${outcome.reply.enhanced}`}`
    }),
  )
