import type { Millis } from '../timers.ts'
import type { ToPrimary, ToStandby } from './messages.ts'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

type Side = 'standby' | 'primary'
/** One end of a connection. `closed` comes after everything that arrived before. */
export type End<M> = { readonly agent: string; readonly receive: (message: M) => void; readonly closed: () => void }

/** Links between agents: delay, one-way and two-way cuts, and connections that break. */
export class Network {
  readonly timeline: Timeline
  readonly random: Random
  readonly #cutUntil = new Map<string, Millis>()
  #connections: Connection[] = []

  constructor(world: { readonly timeline: Timeline; readonly random: Random }) {
    this.timeline = world.timeline
    this.random = world.random
  }

  /** Undefined when nothing gets through now. */
  connect(standby: End<ToStandby>, primary: End<ToPrimary>): Connection | undefined {
    if (this.openAgain(standby.agent, primary.agent) > 0 || this.openAgain(primary.agent, standby.agent) > 0) return undefined
    const connection = new Connection(this, standby, primary)
    this.#connections = [...this.#connections.filter((one) => !one.isBroken), connection]
    return connection
  }

  /** From one agent to another only. */
  cut(from: string, to: string, duration: Millis): void {
    this.#cutUntil.set(`${from}>${to}`, Math.max(this.openAgain(from, to), this.timeline.now + duration))
    for (const connection of this.#between(from, to)) {
      // What was sent before the cut is sent again after it, or the connection ends first.
      if (this.random.chance(0.6)) this.timeline.after(this.random.between(0, duration), () => connection.break())
    }
  }

  /** Longer ways, from one agent to another only; no connection breaks. */
  hold(from: string, to: string, duration: Millis): void {
    this.#cutUntil.set(`${from}>${to}`, Math.max(this.openAgain(from, to), this.timeline.now + duration))
  }

  breakBetween(one: string, other: string): void {
    for (const connection of this.#between(one, other)) connection.break()
  }

  heal(): void {
    this.#cutUntil.clear()
  }

  /** When messages from one to the other get through again. */
  openAgain(from: string, to: string): Millis {
    const until = this.#cutUntil.get(`${from}>${to}`) ?? 0
    return until > this.timeline.now ? until : 0
  }

  latency(): Millis {
    return this.random.chance(0.04) ? this.random.between(5, 400) : this.random.between(0.1, 3)
  }

  #between(one: string, other: string): readonly Connection[] {
    return this.#connections.filter(
      ({ isBroken, standby, primary }) =>
        !isBroken && [one, other].includes(standby.agent) && [one, other].includes(primary.agent) && one !== other,
    )
  }
}

/** In order, each way. Broken: nothing arrives any more, and each end learns it in its own time. Closed: what was sent before still arrives. */
export class Connection {
  isBroken = false
  readonly standby: End<ToStandby>
  readonly primary: End<ToPrimary>
  readonly #network: Network
  readonly #lastArrival: Record<Side, Millis> = { standby: 0, primary: 0 }
  readonly #told: Record<Side, boolean> = { standby: false, primary: false }

  constructor(network: Network, standby: End<ToStandby>, primary: End<ToPrimary>) {
    this.#network = network
    this.standby = standby
    this.primary = primary
  }

  toPrimary(message: ToPrimary): void {
    this.#send('primary', () => this.primary.receive(message))
  }

  toStandby(message: ToStandby): void {
    this.#send('standby', () => this.standby.receive(message))
  }

  close(by: Side): void {
    this.#told[by] = true
    const other = by === 'standby' ? 'primary' : 'standby'
    this.#send(other, () => this.#tell(other))
  }

  break(): void {
    if (this.isBroken) return
    this.isBroken = true
    for (const side of ['standby', 'primary'] as const) this.#network.timeline.after(this.#untilNoticed(), () => this.#tell(side))
  }

  #send(to: Side, arrive: () => void): void {
    if (this.isBroken) return
    const { timeline } = this.#network
    const [from, dest] = to === 'primary' ? [this.standby.agent, this.primary.agent] : [this.primary.agent, this.standby.agent]
    const earliest = Math.max(timeline.now, this.#network.openAgain(from, dest)) + this.#network.latency()
    const at = (this.#lastArrival[to] = Math.max(this.#lastArrival[to], earliest))
    timeline.at(at, () => {
      if (!this.isBroken) arrive()
    })
  }

  #untilNoticed(): Millis {
    return this.#network.random.chance(0.2) ? this.#network.random.between(200, 6_000) : this.#network.random.between(0, 20)
  }

  #tell(side: Side): void {
    if (this.#told[side]) return
    this.#told[side] = true
    if (side === 'standby') this.standby.closed()
    else this.primary.closed()
  }
}
