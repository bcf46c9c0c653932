import type { FailureScope } from '../domain/delivery-outcome.ts'
import type { Domain } from '../domain/envelope.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'
import type { Delivery, Millis, StoredMessage } from '../queue/queue-store.ts'
import { type CoolDown, coolDownFor } from '../shaping/destination-gate.ts'
import { attemptDelivery, type AttemptContext, type AttemptEnd, type RecipientEnd } from './attempt.ts'
import { concludeAttempt, type Conclusion } from './conclude.ts'
import { ConnectionPool } from './connection-pool.ts'
import { ContentBudget } from './content-budget.ts'
import { Destinations } from './destinations.ts'
import { Gates } from './gates.ts'
import { FORGETFUL, Learnt } from './learnt.ts'
import type { DeliveryMetrics, DeliverySettings, Permission, Scheduler, SchedulerOptions, Tuning, UnavailableAddress } from './ports.ts'
import { type OnDamage, readContent, readMessage } from './read-mail.ts'
import { type MailResolver, openResolver } from './resolver.ts'
import { SourceAddresses } from './source-addresses.ts'
import { tellOutcomes } from './tell-outcomes.ts'
import { ALWAYS, DEFAULT_TUNING, NO_METRICS } from './tuning.ts'

/**
 * THE LOOP: due → gate and limits → attempt → outcome → queue. It takes from the queue only what may run now, so that nothing waits in
 * memory and one slow destination can neither fill it nor hold up another. What must never happen: an attempt that is not recorded, a
 * delivery that is neither running nor in the queue, or a wake-up without a reason.
 */

const MINUTE: Millis = 60_000

export function openScheduler(options: SchedulerOptions): Scheduler {
  return new RunningScheduler(options)
}

/** How many expired deliveries are returned in one pass. */
const EXPIRED_AT_ONCE = 50
/** And how soon the next ones are, or the first, where no transaction was free. */
const EXPIRED_EVERY: Millis = 100
/** Content of all transactions together: five of the largest messages that submission takes by default. */
const CONTENT_BYTES = 128 * 2 ** 20

/** The shortest sleep. Whatever happens in the process wakes the loop at once; only the clock is late by so much. */
const WITHHELD_MILLIS = 50

/** How often a primary without the right to act looks whether it has it again: nobody tells. */
const UNPERMITTED_MILLIS = 100

/** How long an expired message waits for its last attempt: a delivery that can be attempted is, at its deadline. */
const patienceOf = ({ queue }: DeliverySettings): Millis => Math.min(10 * MINUTE, queue.maxAgeSeconds * 100)

class RunningScheduler implements Scheduler {
  readonly #options: SchedulerOptions
  readonly #tuning: Tuning
  readonly #metrics: DeliveryMetrics
  readonly #permission: Permission
  readonly #resolver: MailResolver
  readonly #pool: ConnectionPool
  readonly #cutOff = new AbortController()
  readonly #sources: SourceAddresses
  readonly #budget = new ContentBudget(CONTENT_BYTES)
  readonly #destinations: Destinations
  readonly #routeGates: Gates
  readonly #learnt: Learnt | undefined
  /** Everything taken from the queue and not yet given back. */
  readonly #running = new Set<Promise<void>>()
  #state: 'running' | 'stopping' | 'broken' = 'running'
  #passDue = false
  #timer: NodeJS.Timeout | undefined
  /** When to look for mail that is too old. Never before a grace after the start or a hold, in which it may be attempted once more. */
  #expiryDue: Millis = Infinity
  #stopped: Promise<void> | undefined

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#tuning = { ...DEFAULT_TUNING, ...options.tuning }
    this.#metrics = options.metrics ?? NO_METRICS
    this.#permission = options.permission ?? ALWAYS
    this.#resolver = options.resolver ?? openResolver({ clock: options.clock })
    const coolDown = (): CoolDown => coolDownFor(options.settings().queue.retrySeconds)
    const { notes: store, log, clock } = options
    this.#learnt = store && new Learnt({ store, log, onBroken: (error) => this.#break(error) })
    this.#destinations = new Destinations({
      coolDown,
      maxConnections: () => options.settings().delivery.maxConnectionsPerDestination,
      clock: options.clock,
      log: options.log,
      ...(this.#learnt && { learnt: this.#learnt }),
    })
    this.#routeGates = new Gates(coolDown, { memory: this.#learnt?.of('route') ?? FORGETFUL, now: clock() })
    this.#sources = new SourceAddresses(options.settings().addresses, () => options.onAddresses?.(), options.attachmentOf)
    this.#pool = new ConnectionPool({
      timeouts: this.#tuning.timeouts,
      idleMillis: this.#tuning.idleMillis,
      clock: options.clock,
      metrics: this.#metrics,
      maxUses: () => options.settings().delivery.maxMessagesPerConnection,
      maxPerDestination: () => options.settings().delivery.maxConnectionsPerDestination,
      mayUse: (address) => options.settings().addresses.some((source) => source.address === address) && this.#sources.isAttached(address),
      onUnused: () => options.onAddresses?.(),
      maxOpen: 2 * this.#tuning.maxTransactions,
      cutOff: this.#cutOff.signal,
    })
    this.#cutOff.signal.addEventListener('abort', () => options.store.stopWaiting(), { once: true })
    options.store.onDue(() => this.#wake())
    options.signal.addEventListener('abort', this.#onAbort, { once: true })
    if (options.signal.aborted) this.#onAbort()
    this.reconfigure()
  }

  reconfigure(): void {
    this.#expiryDue = Math.min(this.#expiryDue, this.#options.clock() + patienceOf(this.#options.settings()))
    this.#sources.keepOnly(this.#options.settings().addresses)
    this.#pool.reconsider()
    this.#wake()
  }

  async stop(graceMillis: Millis): Promise<void> {
    const timer = setTimeout(() => this.#cutOff.abort(), graceMillis)
    try {
      await (this.#stopped ??= this.#finish())
    } finally {
      clearTimeout(timer)
    }
  }

  inFlight(): number {
    return this.#running.size
  }

  usedAddresses(): readonly string[] {
    const assigned = this.#options.settings().addresses.map(({ address }) => address)
    return [...new Set([...assigned, ...this.#pool.sources()])]
  }

  unavailableAddresses(): readonly UnavailableAddress[] {
    return this.#sources.unavailable()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0)
  }

  // Its rejection is that of stop(), which main awaits.
  readonly #onAbort = (): void => void this.stop(0).catch(this.#options.onBroken)

  /** Passes are few: however many things happen in a turn of the event loop, one pass answers them all. */
  #wake(): void {
    if (this.#passDue || this.#state !== 'running') return
    this.#passDue = true
    setImmediate(() => {
      this.#passDue = false
      this.#pass()
    })
  }

  #pass(): void {
    clearTimeout(this.#timer)
    if (this.#state !== 'running') return
    const { store, clock, settings } = this.#options
    const now = clock()
    const current = settings()
    if (current.mode === 'Hold') {
      this.#expiryDue = Infinity
      return
    }
    if (!this.#permission.mayStart()) {
      this.#timer = setTimeout(() => this.#wake(), UNPERMITTED_MILLIS)
      return
    }
    // 1. What is due, may be dialled and has a slot: each becomes an attempt.
    const canSend = this.#sources.some(current.addresses, now)
    const free = this.#free()
    const room = (destination: Domain): number => this.#destinations.room(destination, now)
    const due = canSend && free > 0 ? store.takeDue(now, free, room) : []
    for (const delivery of due) this.#start(delivery)
    // 2. Mail that is too old and whose destination is not being dialled goes back to its sender.
    this.#returnExpired(current, now)
    // 3. Sleep until something changes: a delivery, an ended attempt, or the clock.
    this.#sleep(now, canSend && free > due.length ? store.nextDueAt(room) : undefined)
  }

  /** How many more deliveries may run. */
  #free(): number {
    return Math.max(0, this.#tuning.maxTransactions - this.#running.size)
  }

  #sleep(now: Millis, nextDue: Millis | undefined): void {
    const times = [nextDue, this.#destinations.nextOpening(now), this.#sources.nextTrial(now), this.#expiryDue].filter(
      (at) => at !== undefined,
    )
    // What is due and was not given is withheld (no attempt could be recorded, on a full disk or with too many marks that no standby has): asking again at once would spin.
    // setTimeout takes at most 2^31 - 1 ms, and fires at once above.
    const wait = Math.min(Math.max(WITHHELD_MILLIS, Math.min(...times) - now), 3_600_000)
    this.#timer = setTimeout(() => this.#wake(), wait)
  }

  #start(delivery: Delivery): void {
    this.#destinations.begin(delivery.destination)
    this.#track(this.#deliver(delivery))
  }

  /** Whatever rejects here has not been recorded: going on would send its mail again and again. */
  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#break(error))
      .finally(() => {
        this.#running.delete(tracked)
        this.#wake()
      })
    this.#running.add(tracked)
  }

  #break(cause: unknown): void {
    if (this.#state === 'broken') return
    this.#state = 'broken'
    clearTimeout(this.#timer)
    this.#options.onBroken(cause)
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const message = this.#readMessage(delivery)
    await (message === undefined ? this.#holdUnreadable(delivery) : this.#send(delivery, message))
  }

  async #send(delivery: Delivery, message: StoredMessage): Promise<void> {
    const { store } = this.#options
    let conclusion: Conclusion
    try {
      const end = await this.#attempt(delivery, message)
      if (end.kind === 'not-attempted') {
        this.#destinations.notAttempted(delivery.destination, end)
        store.release([delivery])
        return
      }
      this.#destinations.attempted(delivery.destination, end.ends)
      conclusion = this.#conclude(delivery, message, end.ends)
    } finally {
      // The next attempt at this destination need not wait until this one is on disk.
      this.#destinations.leave(delivery.destination)
      this.#wake()
    }
    await store.settle(conclusion.result, conclusion.report)
    this.#tell(delivery, conclusion)
  }

  async #attempt(delivery: Delivery, message: StoredMessage): Promise<AttemptEnd> {
    const { store, settings, clock, random, log } = this.#options
    const context: AttemptContext = {
      store,
      settings: settings(),
      resolver: this.#resolver,
      pool: this.#pool,
      budget: this.#budget,
      sources: this.#sources,
      routeGates: this.#routeGates,
      tuning: this.#tuning,
      clock,
      random,
      log,
      metrics: this.#metrics,
      onDamage: this.#onDamage,
      permission: this.#permission,
      cutOff: this.#cutOff.signal,
    }
    try {
      return await attemptDelivery(delivery, message, context)
    } catch (error) {
      // A fault of ours that one message brings out must not stop all others, nor be tried in a circle.
      log.error({ err: error, queueId: delivery.queueId, destination: delivery.destination }, 'attempt failed')
      const reply = { code: 451, enhanced: '4.3.0', text: 'the attempt failed inside this mail system' }
      return { kind: 'attempted', ends: deferAll(delivery, reply, 'message') }
    }
  }

  /** Whom it is from is not known, so nobody can be told: it waits, by the ladder and until its age is over, for a person. */
  async #holdUnreadable(delivery: Delivery): Promise<void> {
    this.#destinations.calledOff(delivery.destination)
    this.#destinations.leave(delivery.destination)
    const reply = { code: 451, enhanced: '4.3.0', text: 'the envelope was damaged on the disk of this mail system' }
    const conclusion = this.#conclude(delivery, undefined, deferAll(delivery, reply, 'message'))
    await this.#options.store.settle(conclusion.result)
    this.#tell(delivery, conclusion)
  }

  #conclude(delivery: Delivery, message: StoredMessage | undefined, ends: ReadonlyMap<number, RecipientEnd>): Conclusion {
    const { store, clock, random } = this.#options
    const settings = this.#options.settings()
    return concludeAttempt({
      delivery,
      message,
      ends,
      settings,
      reportingHost: settings.addresses[0]?.hostName ?? 'localhost',
      now: clock(),
      random,
      readContent: () => readContent(store, delivery.queueId, this.#onDamage),
    })
  }

  #readMessage({ queueId }: Delivery): StoredMessage | undefined {
    return readMessage(this.#options.store, queueId, this.#onDamage)
  }

  readonly #onDamage: OnDamage = (queueId, damage) => this.#options.onDamage?.(queueId, damage)

  #returnExpired(settings: DeliverySettings, now: Millis): void {
    if (now < this.#expiryDue) return
    const { store } = this.#options
    const maxAge = settings.queue.maxAgeSeconds * 1000
    const patience = patienceOf(settings)
    const limit = Math.min(EXPIRED_AT_ONCE, this.#free())
    const expired = limit > 0 ? store.takeExpired(now - maxAge - patience, limit) : []
    for (const delivery of expired) this.#track(this.#returnOne(delivery))
    const oldest = store.totals().oldestAcceptedAt ?? now
    this.#expiryDue = expired.length === limit ? now + EXPIRED_EVERY : Math.max(now + patience, oldest + maxAge + patience)
  }

  async #returnOne(delivery: Delivery): Promise<void> {
    const reply = { code: 451, enhanced: '4.4.1', text: `no attempt at ${delivery.destination} was possible` }
    const conclusion = this.#conclude(delivery, this.#readMessage(delivery), deferAll(delivery, reply, 'destination'))
    await this.#options.store.settle(conclusion.result, conclusion.report)
    this.#tell(delivery, conclusion)
  }

  #tell(delivery: Delivery, conclusion: Conclusion): void {
    tellOutcomes(delivery, conclusion, { log: this.#options.log, metrics: this.#metrics, now: this.#options.clock() })
  }

  async #finish(): Promise<void> {
    if (this.#state === 'running') this.#state = 'stopping'
    clearTimeout(this.#timer)
    await Promise.all(this.#running)
    await Promise.all([this.#pool.closeIdle(), this.#learnt?.end()])
    this.#options.signal.removeEventListener('abort', this.#onAbort)
  }
}

function deferAll({ recipients }: Delivery, reply: SmtpReply, scope: FailureScope): ReadonlyMap<number, RecipientEnd> {
  const end = { outcome: { kind: 'deferred', reply, scope }, reports: false } as const
  return new Map(recipients.map(({ index }) => [index, end]))
}
