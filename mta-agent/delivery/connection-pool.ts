import type { Domain } from '../domain/envelope.ts'
import type { Millis } from '../queue/queue-store.ts'
import { type Connection, openConnection, type Opened, type OpenFailure } from './connection.ts'
import type { DeliveryMetrics, SmtpTimeouts } from './ports.ts'
import type { Route } from './route.ts'
import { type Wire, WireFailed } from './wire.ts'

/**
 * Open sessions, by route, for use after use. It must never give out a session that is not quiet, hold one longer than told, or keep
 * one from a source address that is not ours any more. The caller bounds how many are in use; the pool bounds how many are open.
 */

export type PoolOptions = {
  readonly timeouts: SmtpTimeouts
  readonly idleMillis: Millis
  readonly clock: () => Millis
  readonly metrics: DeliveryMetrics
  /** Read at each release. */
  readonly maxUses: () => number
  /** Read at each acquire: most connections to one destination. */
  readonly maxPerDestination: () => number
  /** Whether connections may be open from this address. */
  readonly mayUse: (address: string) => boolean
  /** Called when the last connection of a source address has closed. */
  readonly onUnused: (address: string) => void
  /** Most connections, in use and idle. */
  readonly maxOpen: number
  /** Aborted: whoever is in a dialogue, or waits for a connection, is told that it was stopped. */
  readonly cutOff: AbortSignal
}

/** A connection in use. Give it back, whatever happened to it. */
export type Lease = { readonly connection: Connection; readonly reused: boolean; release(): void }

export type Acquired = { readonly kind: 'lease'; readonly lease: Lease } | { readonly kind: 'failed'; readonly failure: OpenFailure }

type Entry = {
  readonly connection: Connection
  readonly key: string
  destination: Domain
  uses: number
  timer?: NodeJS.Timeout
}

/** A host whose TLS is broken is talked to in clear for so long; then it may have been mended. */
const TLS_BROKEN_MILLIS: Millis = 3_600_000
const MAX_TLS_BROKEN = 10_000

export class ConnectionPool {
  readonly #options: PoolOptions
  /** Route → idle sessions, the one used last at the end. Insertion order of routes is of no meaning. */
  readonly #idle = new Map<string, Entry[]>()
  /** Route → connections that are being opened, and those in use, idle or closing. */
  readonly #opening = new Map<string, number>()
  readonly #established = new Map<string, number>()
  /** Source address → connections, being opened, in use, idle or closing. */
  readonly #bySource = new Map<string, number>()
  readonly #byDestination = new Map<Domain, number>()
  readonly #tlsBroken = new Map<string, Millis>()
  readonly #closing = new Set<Promise<void>>()
  /** Sessions that somebody speaks in: closed when everything is cut off. */
  readonly #spoken = new Set<Wire>()
  #open = 0

  constructor(options: PoolOptions) {
    this.#options = options
    options.cutOff.addEventListener('abort', () => this.#spoken.forEach((wire) => wire.close()), { once: true })
  }

  /** 'any' may give a session that was used before; 'fresh' never does. */
  async acquire(route: Route, destination: Domain, which: 'any' | 'fresh'): Promise<Acquired> {
    // An attempt keeps the routes that it began with. Between two hosts it holds no connection, so an address that left the spec meanwhile
    // has been reported as free, and may be another instance's by now.
    if (!this.#options.mayUse(route.source.address)) return { kind: 'failed', failure: notOurs(route) }
    const key = keyOf(route)
    const idle = which === 'any' ? this.#takeIdle(key) : undefined
    if (idle !== undefined) {
      this.#move(idle, destination)
      this.#options.metrics.connection('reused')
      return { kind: 'lease', lease: this.#lease(idle, true) }
    }
    if (this.#open >= this.#options.maxOpen) this.#evict(() => true)
    if ((this.#byDestination.get(destination) ?? 0) >= this.#options.maxPerDestination())
      this.#evict((entry) => entry.destination === destination)
    return await this.#openOne(route, key, destination)
  }

  /** Closes idle sessions of addresses that may not be used any more. */
  reconsider(): void {
    this.#evictAll((entry) => !this.#options.mayUse(entry.connection.route.source.address))
  }

  /** The best there is on the route. */
  sessionsOn(route: Route): 'open' | 'opening' | 'none' {
    const key = keyOf(route)
    if (this.#established.has(key)) return 'open'
    return this.#opening.has(key) ? 'opening' : 'none'
  }

  sources(): readonly string[] {
    return [...this.#bySource.keys()]
  }

  /** Idle sessions end politely; then resolves when none of those is left. */
  async closeIdle(): Promise<void> {
    this.#evictAll(() => true)
    await Promise.all(this.#closing)
  }

  async #openOne(route: Route, key: string, destination: Domain): Promise<Acquired> {
    this.#count(route.source.address, destination, 1)
    const { metrics } = this.#options
    add(this.#opening, key, 1)
    const opened = await this.#dial(route).finally(() => add(this.#opening, key, -1))
    if (opened.kind === 'failed') {
      this.#count(route.source.address, destination, -1)
      metrics.connection('failed')
      return opened
    }
    add(this.#established, key, 1)
    metrics.connection('opened')
    metrics.tls(opened.connection.protection)
    return { kind: 'lease', lease: this.#lease({ connection: opened.connection, key, destination, uses: 0 }, false) }
  }

  /** With TLS if it works there, and without if it does not. */
  async #dial(route: Route): Promise<Opened> {
    const { timeouts, clock, cutOff } = this.#options
    const host = `${route.host.address}:${route.host.port}`
    if ((this.#tlsBroken.get(host) ?? 0) > clock()) return await openConnection(route, { timeouts, tls: 'never', signal: cutOff })
    const opened = await openConnection(route, { timeouts, tls: 'opportunistic', signal: cutOff })
    if (opened.kind !== 'failed' || opened.failure.cause !== 'Tls') return opened
    this.#rememberBrokenTls(host)
    return await openConnection(route, { timeouts, tls: 'never', signal: cutOff })
  }

  #lease(entry: Entry, reused: boolean): Lease {
    entry.uses += 1
    const { wire } = entry.connection
    this.#speak(wire)
    return {
      connection: entry.connection,
      reused,
      release: () => {
        this.#spoken.delete(wire)
        this.#giveBack(entry)
      },
    }
  }

  #speak(wire: Wire): void {
    this.#spoken.add(wire)
    if (this.#options.cutOff.aborted) wire.close()
  }

  #giveBack(entry: Entry): void {
    const { wire, route } = entry.connection
    const { maxUses, mayUse, idleMillis } = this.#options
    if (!wire.isQuiet()) return this.#gone(entry)
    if (entry.uses >= maxUses() || !mayUse(route.source.address) || this.#options.cutOff.aborted) return this.#quit(entry)
    const idle = this.#idle.get(entry.key)
    if (idle === undefined) this.#idle.set(entry.key, [entry])
    else idle.push(entry)
    entry.timer = setTimeout(() => {
      this.#forget(entry)
      this.#quit(entry)
    }, idleMillis)
    // A server that hangs up on an idle session does what it may (421, or without a word, as Yahoo): no failure.
    wire.onDisturbed(() => {
      this.#forget(entry)
      this.#gone(entry)
    })
  }

  #takeIdle(key: string): Entry | undefined {
    for (;;) {
      const entry = this.#idle.get(key)?.at(-1)
      if (entry === undefined) return undefined
      this.#forget(entry)
      if (entry.connection.wire.isQuiet()) return entry
      this.#gone(entry)
    }
  }

  #forget(entry: Entry): void {
    clearTimeout(entry.timer)
    entry.connection.wire.onDisturbed(undefined)
    const idle = this.#idle.get(entry.key)
    if (idle === undefined) return
    // Nearly always the one used last: it stands at the end.
    const at = idle.lastIndexOf(entry)
    if (at !== -1) idle.splice(at, 1)
    if (idle.length === 0) this.#idle.delete(entry.key)
  }

  #evict(may: (entry: Entry) => boolean): void {
    for (const entries of this.#idle.values()) {
      const entry = entries.find(may)
      if (entry === undefined) continue
      this.#forget(entry)
      return this.#quit(entry)
    }
  }

  #evictAll(may: (entry: Entry) => boolean): void {
    for (const entry of [...this.#idle.values()].flat().filter(may)) {
      this.#forget(entry)
      this.#quit(entry)
    }
  }

  /** QUIT, and the reply is waited for a little: servers count sessions that end without as broken. */
  #quit(entry: Entry): void {
    const closing = this.#sayQuit(entry).finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }

  async #sayQuit(entry: Entry): Promise<void> {
    const { wire } = entry.connection
    this.#speak(wire)
    try {
      wire.send('QUIT\r\n')
      await wire.read(this.#options.timeouts.close)
    } catch (error) {
      // Only the session is at stake, and it is over: how it ended changes nothing.
      if (!(error instanceof WireFailed)) throw error
    } finally {
      this.#spoken.delete(wire)
      this.#gone(entry)
    }
  }

  #gone(entry: Entry): void {
    entry.connection.wire.close()
    add(this.#established, entry.key, -1)
    this.#count(entry.connection.route.source.address, entry.destination, -1)
  }

  #move(entry: Entry, destination: Domain): void {
    if (entry.destination === destination) return
    add(this.#byDestination, entry.destination, -1)
    add(this.#byDestination, destination, 1)
    entry.destination = destination
  }

  #count(address: string, destination: Domain, change: 1 | -1): void {
    this.#open += change
    add(this.#byDestination, destination, change)
    if (add(this.#bySource, address, change) === 0) this.#options.onUnused(address)
  }

  #rememberBrokenTls(host: string): void {
    this.#tlsBroken.delete(host)
    this.#tlsBroken.set(host, this.#options.clock() + TLS_BROKEN_MILLIS)
    for (const oldest of this.#tlsBroken.keys()) {
      if (this.#tlsBroken.size <= MAX_TLS_BROKEN) break
      this.#tlsBroken.delete(oldest)
    }
  }
}

const keyOf = ({ source, host }: Route): string => `${source.address} ${source.hostName} ${host.address} ${host.port}`

/** Entries at 0 are removed, so that the map is as large as what is open. */
function add<K>(counts: Map<K, number>, key: K, change: number): number {
  const count = (counts.get(key) ?? 0) + change
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
  return count
}

/** Called off, not failed: the mail is taken again, with the addresses that there are then. */
function notOurs({ source }: Route): OpenFailure {
  return {
    cause: 'Stopped',
    code: 'STOPPED',
    reply: { code: 451, enhanced: '4.4.1', text: `${source.address} is not a source address any more` },
  }
}
