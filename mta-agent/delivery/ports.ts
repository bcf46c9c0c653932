import type { MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Millis, QueueStore } from '../queue/queue-store.ts'
import type { LearntOptions } from './learnt.ts'
import type { OnDamage } from './read-mail.ts'
import type { MailResolver } from './resolver.ts'

/** What delivery takes from the agent's main, and what it gives. Nothing here knows Kubernetes, pino or prom-client. */

/** The part of the instance's spec that delivery works by; a whole MTAInstanceSpec is one. */
export type DeliverySettings = Pick<MTAInstanceSpec, 'mode' | 'addresses' | 'delivery' | 'routes'> & {
  readonly queue: Pick<MTAInstanceSpec['queue'], 'retrySeconds' | 'maxAgeSeconds'>
}

/** The shape of pino that delivery uses: facts first, then a constant message. */
export type DeliveryLog = {
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

/** Why a recipient was deferred or bounced, in a closed set of words: the scope of a deferral, the reason of a bounce. */
export type OutcomeReason =
  | Extract<DeliveryOutcome, { scope: unknown }>['scope']
  | Extract<DeliveryOutcome, { because: unknown }>['because']

/** Every label below is one of a handful of words: no domain, address or reply ever becomes one. */
export type DeliveryMetrics = {
  /** One recipient of one attempt. `reason` is '' for delivered. */
  outcome(kind: DeliveryOutcome['kind'], reason: OutcomeReason | ''): void
  /** From accepted to delivered, for one recipient. */
  latency(seconds: number): void
  /** One transaction. ambiguous: the connection was lost between the final dot and its reply, so the message may arrive twice. */
  transaction(end: 'completed' | 'lost' | 'ambiguous', seconds: number): void
  /** A connection that was opened, taken again while idle, or could not be opened. */
  connection(event: 'opened' | 'reused' | 'failed'): void
  /** How an opened connection is protected. unverified: encrypted, but the certificate proves nothing (RFC 3207, opportunistic). */
  tls(protection: 'clear' | 'unverified' | 'verified'): void
}

/** A source address that the kernel would not bind to. Its deliveries wait, untried, until they are too old. */
export type UnavailableAddress = { readonly address: string; readonly since: Millis; readonly code: string }

/** Whether delivery may act now (hot standby, R1): asked where the effect is, and answered from memory. */
export type Permission = {
  /** Before the first byte of each transaction. */
  mayStart(): boolean
  /** Before each final dot. */
  mayAct(): boolean
}

export type SchedulerOptions = {
  readonly store: QueueStore
  /** Where what is learnt of destinations is noted, and was; without it, it is forgotten with the scheduler. */
  readonly notes?: LearntOptions['store']
  /** Read at every pass: call `reconfigure` after it answers differently. */
  readonly settings: () => DeliverySettings
  /** Asks the DNS servers of resolv.conf when absent. */
  readonly resolver?: MailResolver
  readonly log: DeliveryLog
  readonly metrics?: DeliveryMetrics
  /** Wall clock, in milliseconds. */
  readonly clock: () => Millis
  /** In [0, 1). */
  readonly random: () => number
  /** Always, when absent. */
  readonly permission?: Permission
  /**
   * Of source addresses that come and go: a number for the time that this one is on the node now, another one each time; undefined while it is not.
   * Always there, when absent. Call `reconfigure` after it answers differently.
   */
  readonly attachmentOf?: ((address: string) => number | undefined) | undefined
  /** Aborting it is stop(0). */
  readonly signal: AbortSignal
  /** Called when unavailableAddresses() or usedAddresses() answers differently. Must not throw. */
  readonly onAddresses?: () => void
  /** Called at each attempt that meets a message which the disk did not keep as it was accepted. Must not throw. */
  readonly onDamage?: OnDamage
  /** Called once when an attempt could not be recorded: its mail would be sent again and again. The process must end. */
  readonly onBroken: (cause: unknown) => void
  readonly tuning?: Partial<Tuning>
}

/** What tests make short or small. */
export type Tuning = {
  readonly timeouts: SmtpTimeouts
  /** How long a connection may wait for its next transaction. */
  readonly idleMillis: Millis
  /** Most transactions at a time, all destinations together, and with them those that go back too old. */
  readonly maxTransactions: number
  /** Where mail hosts listen: 25 (RFC 5321 section 4.5.4.2). Routes name their own. */
  readonly smtpPort: number
  /** Whether an MX that points to loopback points to ourselves. Routes name what they mean. */
  readonly loopback: 'own' | 'foreign'
}

/** Milliseconds each stage of a dialogue may take: RFC 5321 section 4.5.3.2 and, for what it does not name, our own. */
export type SmtpTimeouts = {
  readonly connect: Millis
  readonly greeting: Millis
  readonly ehlo: Millis
  readonly tls: Millis
  readonly mail: Millis
  readonly rcpt: Millis
  readonly data: Millis
  /** For each piece of content handed to TCP. */
  readonly block: Millis
  /** From the final dot to its reply. */
  readonly dot: Millis
  /** For RSET and QUIT. */
  readonly close: Millis
}

/** The loop that takes due mail to its next hop. Made by openScheduler in scheduler.ts; disposing it is stop(0). */
export type Scheduler = AsyncDisposable & {
  /** Works by what settings() answers now: wakes, and closes idle connections of source addresses that are gone. */
  reconfigure(): void
  /**
   * No new transactions begin, running ones finish, connections close. After graceMillis what still runs is cut off, and an outcome that a
   * full disk does not take is told to onBroken. May be called again, to make it sooner.
   */
  stop(graceMillis: Millis): Promise<void>
  /** Deliveries being attempted or recorded now. */
  inFlight(): number
  /** Source addresses of the settings, and those removed from them that still have a connection. */
  usedAddresses(): readonly string[]
  unavailableAddresses(): readonly UnavailableAddress[]
}
