import type { SourceAddress } from '#crds/mta-instance.ts'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'
import type { Delivery, Millis, QueueStore, StoredMessage } from '../queue/queue-store.ts'
import { classifyReply, isPolicyDeferral, isTooManyRecipients } from './classify-reply.ts'
import type { OpenFailure, Protection } from './connection.ts'
import type { ConnectionPool, Lease } from './connection-pool.ts'
import type { ContentBudget } from './content-budget.ts'
import { findHosts } from './find-hosts.ts'
import type { Gates } from './gates.ts'
import type { DeliveryLog, DeliveryMetrics, DeliverySettings, Permission, Tuning } from './ports.ts'
import { type OnDamage, readContent } from './read-mail.ts'
import type { MailResolver } from './resolver.ts'
import { type Host, MAX_ADDRESSES, planRoutes, type Route } from './route.ts'
import { needsSmtpUtf8 } from './smtp-commands.ts'
import type { SourceAddresses } from './source-addresses.ts'
import { type NumberedRecipient, runTransaction, type TransactionEnd } from './transaction.ts'

/**
 * One delivery, attempted once: hosts in order until every recipient has an outcome. A host that cannot be reached, or is lost before
 * the final dot, leaves its recipients to the next host; one that is lost after the dot does not, for it may have taken the message.
 */

export type AttemptContext = {
  readonly store: Pick<QueueStore, 'readContent'>
  readonly settings: DeliverySettings
  readonly resolver: MailResolver
  readonly pool: ConnectionPool
  readonly budget: ContentBudget
  readonly sources: SourceAddresses
  /** Of routes: source address × host. */
  readonly routeGates: Gates
  readonly tuning: Tuning
  readonly clock: () => Millis
  readonly random: () => number
  readonly log: DeliveryLog
  readonly metrics: DeliveryMetrics
  readonly onDamage: OnDamage
  readonly permission: Permission
  /** Aborted when whatever still runs shall end now. */
  readonly cutOff: AbortSignal
}

/** What became of one recipient, and where. Without a host, nobody was asked. */
export type RecipientEnd = {
  readonly outcome: DeliveryOutcome
  readonly host?: Host
  readonly source?: string
  readonly protection?: Protection
  /** Whether the host has taken over the duty to report (DSN offered, RFC 3461 section 5.2). */
  readonly reports: boolean
}

export type AttemptEnd =
  | { readonly kind: 'attempted'; readonly ends: ReadonlyMap<number, RecipientEnd> }
  /** Nobody was asked anything, and nothing was learnt of the destination: not an attempt. `until` when known. */
  | { readonly kind: 'not-attempted'; readonly because: NotAttempted; readonly until?: Millis }

/** Crowded: the host refused one more session while others of ours were open, or being opened, there. */
export type NotAttempted = 'NoSourceAddress' | 'RoutesClosed' | 'Stopped' | 'Crowded'

/** RFC 5321 section 4.5.3.1.8: what every server must take in one transaction. */
const RECIPIENTS_PER_TRANSACTION = 100

export async function attemptDelivery(delivery: Delivery, message: StoredMessage, context: AttemptContext): Promise<AttemptEnd> {
  const { settings, sources, routeGates, clock } = context
  const found = await unlessStopped(findHosts(delivery.destination, context), context.cutOff)
  if (found === 'stopped') return { kind: 'not-attempted', because: 'Stopped' }
  if (found.kind === 'outcome') return allRecipients(delivery, found.outcome)
  const now = clock()
  const usable = sources.order(delivery, settings.addresses, now)
  if (usable.length === 0) return { kind: 'not-attempted', because: 'NoSourceAddress' }
  const isOpen = (route: Route): boolean => routeGates.admits(routeName(route), now, 1) === 1
  const routes = planRoutes(delivery.destination, found.hosts, usable, isOpen)
  if ('kind' in routes) return allRecipients(delivery, routes)
  return await new Attempt(delivery, message, context).run(routes, usable)
}

/** Questions to DNS go on unheard. */
async function unlessStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T | 'stopped'> {
  if (signal.aborted) return 'stopped'
  const { promise, resolve } = Promise.withResolvers<'stopped'>()
  const stop = (): void => resolve('stopped')
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

const allRecipients = (delivery: Delivery, outcome: DeliveryOutcome): AttemptEnd => ({
  kind: 'attempted',
  ends: new Map(delivery.recipients.map(({ index }) => [index, { outcome, reports: false }])),
})

/** What to do with the recipients that are still without an outcome. */
type Next = 'next-transaction' | 'fresh-connection' | 'next-host' | 'stop'

class Attempt {
  readonly #delivery: Delivery
  readonly #message: StoredMessage
  readonly #context: AttemptContext
  #utf8: boolean | undefined
  readonly #ends = new Map<number, RecipientEnd>()
  #pending: readonly NumberedRecipient[]
  #chunk = RECIPIENTS_PER_TRANSACTION
  #lastFailure: { readonly reply: SmtpReply; readonly route: Route } | undefined
  #calledOff: Exclude<NotAttempted, 'RoutesClosed'> | undefined
  #until: Millis | undefined

  constructor(delivery: Delivery, message: StoredMessage, context: AttemptContext) {
    this.#delivery = delivery
    this.#message = message
    this.#context = context
    this.#pending = delivery.recipients
  }

  /** `usable`: the source addresses that could have been taken. */
  async run(routes: readonly Route[], usable: readonly SourceAddress[]): Promise<AttemptEnd> {
    let asked = 0
    for (const route of routes) {
      if (this.#pending.length === 0 || asked >= MAX_ADDRESSES) break
      if (!this.#isOpen(route, usable)) continue
      asked += 1
      if ((await this.#serve(route)) === 'stop') break
    }
    return this.#conclude()
  }

  #conclude(): AttemptEnd {
    const failure = this.#lastFailure
    // Called off half-way: those without an outcome stay as they were, whatever the hosts before had said.
    if (failure !== undefined && this.#calledOff === undefined) {
      const { host, source } = failure.route
      const outcome: DeliveryOutcome = { kind: 'deferred', reply: toTemporary(failure.reply), scope: 'destination' }
      for (const { index } of this.#pending) this.#ends.set(index, { outcome, host, source: source.address, reports: false })
    }
    if (this.#ends.size > 0) return { kind: 'attempted', ends: this.#ends }
    return {
      kind: 'not-attempted',
      because: this.#calledOff ?? 'RoutesClosed',
      ...(this.#until === undefined ? {} : { until: this.#until }),
    }
  }

  /** Where it is closed, all routes to its host are: the first that opens is waited for. */
  #isOpen(route: Route, usable: readonly SourceAddress[]): boolean {
    const { routeGates, clock } = this.#context
    if (routeGates.admits(routeName(route), clock(), 1) === 1) return true
    for (const source of usable) {
      const opening = routeGates.openingOf(routeName({ source, host: route.host }))
      if (opening !== undefined) this.#until = Math.min(this.#until ?? opening, opening)
    }
    return false
  }

  /** Transactions at one host until all are served or it will not go on. */
  async #serve(route: Route): Promise<Next> {
    const { pool, sources } = this.#context
    let which: 'any' | 'fresh' = 'any'
    let next: Next = 'next-transaction'
    while (this.#pending.length > 0 && (next === 'next-transaction' || next === 'fresh-connection')) {
      this.#stepGate(route, { kind: 'dialled', at: this.#context.clock() })
      const acquired = await pool.acquire(route, this.#delivery.destination, which)
      if (acquired.kind === 'failed') {
        next = this.#noteOpenFailure(route, acquired.failure)
        break
      }
      sources.worked(route.source.address)
      try {
        next = await this.#transact(route, acquired.lease)
      } finally {
        acquired.lease.release()
      }
      which = next === 'fresh-connection' ? 'fresh' : 'any'
    }
    return next
  }

  #noteOpenFailure(route: Route, failure: OpenFailure): Next {
    const { clock, sources, log, pool } = this.#context
    const at = clock()
    const { cause, code, reply } = failure
    if (cause === 'Stopped' || cause === 'SourceAddress') {
      // It says nothing of the host; the mail waits for the address, or for the next start.
      this.#stepGate(route, { kind: 'calledOff', at })
      this.#calledOff = cause === 'Stopped' ? 'Stopped' : 'NoSourceAddress'
      if (cause === 'SourceAddress') sources.wasRefused(route.source.address, code, at)
      return 'stop'
    }
    if (cause === 'Refused' && pool.sessionsOn(route) !== 'none') {
      // While none is established, it may be that the host refuses everybody: that closes the route, and costs no recipient an attempt.
      this.#stepGate(route, { kind: pool.sessionsOn(route) === 'open' ? 'calledOff' : 'failed', at })
      this.#calledOff = 'Crowded'
      return 'stop'
    }
    log.info({ queueId: this.#delivery.queueId, ...routeFacts(route), code, reply: reply.text }, 'no connection')
    this.#stepGate(route, { kind: 'failed', at })
    this.#lastFailure = { reply, route }
    if (cause !== 'Refused' || !isPolicyDeferral(reply)) return 'next-host'
    const outcome = classifyReply(reply, 'greeting')
    const { host, source } = route
    for (const { index } of this.#pending) this.#ends.set(index, { outcome, host, source: source.address, reports: false })
    this.#pending = []
    return 'stop'
  }

  async #transact(route: Route, lease: Lease): Promise<Next> {
    // Read only now: a message that waits for a connection must not lie in memory.
    const held = await this.#context.budget.reserve(this.#delivery.sizeBytes, this.#context.cutOff)
    if (held === 'stopped') {
      this.#calledOff = 'Stopped'
      return 'stop'
    }
    using _held = held
    const content = readContent(this.#context.store, this.#delivery.queueId, this.#context.onDamage)
    if (content === undefined) return this.#giveUpDamaged(route)
    const refused = this.#missingCapability(lease, content)
    if (refused !== undefined) {
      this.#record(new Map(this.#pending.map(({ index }) => [index, refused])), lease)
      return 'next-transaction'
    }
    const { clock, metrics, tuning, permission } = this.#context
    const recipients = this.#pending.slice(0, this.#chunk)
    const { sender, body, returnContent, envelopeId } = this.#message.envelope
    const mail = {
      sender,
      sizeBytes: content.length,
      eightBit: body === '8BITMIME',
      utf8: this.#needsUtf8(content),
      ...(returnContent === undefined ? {} : { returnContent }),
      ...(envelopeId === undefined ? {} : { envelopeId }),
    }
    const begun = clock()
    const end = await runTransaction(lease.connection, { mail, recipients, content, permission }, tuning.timeouts)
    metrics.transaction(end.end, (clock() - begun) / 1000)
    this.#record(this.#withoutTooMany(end), lease)
    return this.#judgeEnd(route, lease, end)
  }

  /** Asking again cannot mend it, so its sender hears at once. Nothing was said to the host. */
  #giveUpDamaged(route: Route): Next {
    this.#stepGate(route, { kind: 'calledOff', at: this.#context.clock() })
    const outcome = {
      kind: 'bounced',
      because: 'Damaged',
      reply: { code: 554, enhanced: '5.3.0', text: 'the message was damaged on the disk of this mail system and must be sent again' },
    } as const
    for (const { index } of this.#pending) this.#ends.set(index, { outcome, reports: false })
    this.#pending = []
    return 'stop'
  }

  #judgeEnd(route: Route, lease: Lease, end: TransactionEnd): Next {
    const at = this.#context.clock()
    if (end.end === 'completed' || this.#pending.length === 0) {
      // An answer that speaks of this source address at this host slows that pair, though the host did answer.
      const slowed = [...end.outcomes.values()].some((outcome) => outcome.kind === 'deferred' && outcome.scope === 'route')
      this.#stepGate(route, slowed ? { kind: 'failed', at } : { kind: 'answered' })
      return 'next-transaction'
    }
    if (end.lastCode === 'STOPPED') {
      this.#stepGate(route, { kind: 'calledOff', at })
      this.#calledOff = 'Stopped'
      return 'stop'
    }
    // Servers close sessions they have had enough of, with 421 or without a word (Yahoo); a new one may be welcome at once.
    if (lease.reused && (!end.answered || end.lastCode === '421')) return 'fresh-connection'
    this.#stepGate(route, { kind: 'failed', at })
    if (end.last !== undefined) this.#lastFailure = { reply: end.last, route }
    return 'next-host'
  }

  /** Recipients that were one too many for this transaction stay pending, for the next one with as many as were taken. */
  #withoutTooMany(end: TransactionEnd): ReadonlyMap<number, DeliveryOutcome> {
    const surplus = [...end.outcomes].filter(([, outcome]) => outcome.kind === 'deferred' && isTooManyRecipients(outcome.reply))
    const taken = end.outcomes.size - surplus.length
    if (surplus.length === 0 || taken === 0 || end.end !== 'completed') return end.outcomes
    this.#chunk = Math.min(this.#chunk, taken)
    const kept = new Map(end.outcomes)
    for (const [index] of surplus) kept.delete(index)
    return kept
  }

  #record(outcomes: ReadonlyMap<number, DeliveryOutcome>, { connection }: Lease): void {
    const { host, source } = connection.route
    for (const [index, outcome] of outcomes) {
      const reports = outcome.kind === 'delivered' && connection.offered.dsn
      this.#ends.set(index, { outcome, host, source: source.address, protection: connection.protection, reports })
    }
    this.#pending = this.#pending.filter(({ index }) => !outcomes.has(index))
  }

  /** Converting would break signatures and may lose text: the sender is told instead (RFC 6152 section 3, RFC 6531 section 3.2). */
  #missingCapability({ connection }: Lease, content: Buffer): DeliveryOutcome | undefined {
    const { offered, route } = connection
    const unsupported = (enhanced: string, text: string): DeliveryOutcome => ({
      kind: 'bounced',
      because: 'Unsupported',
      reply: { code: 554, enhanced, text: `${route.host.name}[${route.host.address}] ${text}` },
    })
    if (this.#needsUtf8(content) && !offered.smtpUtf8) return unsupported('5.6.7', 'takes no internationalised mail (SMTPUTF8)')
    if (this.#message.envelope.body === '8BITMIME' && !offered.eightBitMime) return unsupported('5.6.3', 'takes no 8-bit mail (8BITMIME)')
    const limit = offered.sizeLimit ?? 0
    if (limit > 0 && content.length > limit) {
      return unsupported('5.3.4', `takes at most ${limit} bytes, the message has ${content.length}`)
    }
    return undefined
  }

  #needsUtf8(content: Buffer): boolean {
    const { sender, smtpUtf8 } = this.#message.envelope
    this.#utf8 ??= smtpUtf8 && needsSmtpUtf8(sender, this.#delivery.recipients, content)
    return this.#utf8
  }

  #stepGate(route: Route, event: Parameters<Gates['step']>[1]): void {
    const moved = this.#context.routeGates.step(routeName(route), event)
    if (moved !== undefined) this.#context.log.info({ ...routeFacts(route), ...moved }, 'route gate moved')
  }
}

const routeName = ({ source, host }: Route): string => `${source.address}>${host.address}:${host.port}`

const routeFacts = ({ source, host }: Route) => ({ source: source.address, host: host.name, address: host.address, port: host.port })

/** A host that will not talk to us is no reason to return mail: 554 in a greeting is deferred, until the mail is too old. */
const toTemporary = (reply: SmtpReply): SmtpReply =>
  reply.code < 500 ? reply : { code: 451, enhanced: '4.4.1', text: `the host refused the session: ${reply.code} ${reply.text}` }
