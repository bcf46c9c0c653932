import type { Domain } from '../domain/envelope.ts'
import type { Millis } from '../queue/queue-store.ts'
import { type ConcurrencyWindow, grow, isNews, shrink } from '../shaping/concurrency-window.ts'
import type { CoolDown } from '../shaping/destination-gate.ts'
import type { AttemptEnd, RecipientEnd } from './attempt.ts'
import { Gates } from './gates.ts'
import { FORGETFUL, type Learnt, type Memory } from './learnt.ts'
import type { DeliveryLog } from './ports.ts'

/**
 * What is known of each destination now: how many attempts run, whether it answers (its gate), and how many connections it bears (its
 * window). What is worth it is remembered beyond this process (learnt.ts). Every attempt that begins here must leave again, or its place is lost.
 */

/** How long a destination waits for a host that is full of sessions for others. */
const CROWDED_MILLIS = 1_000
/** How long a destination waits while another one's probe is under way on all its routes. */
const PROBE_MILLIS = 5_000
const MAX_WINDOWS = 10_000

export type DestinationsOptions = {
  readonly coolDown: () => CoolDown
  readonly maxConnections: () => number
  readonly clock: () => Millis
  readonly log: DeliveryLog
  readonly learnt?: Learnt
}

export class Destinations {
  readonly #options: DestinationsOptions
  readonly #gates: Gates
  /** Of destinations that refused a connection while others of ours were open; where there is none, the configured limit holds. */
  readonly #windows = new Map<Domain, ConcurrencyWindow>()
  readonly #windowMemory: Memory
  readonly #attempting = new Map<Domain, number>()

  constructor(options: DestinationsOptions) {
    this.#options = options
    const { learnt, clock, coolDown } = options
    this.#gates = new Gates(coolDown, { memory: learnt?.of('closed') ?? FORGETFUL, now: clock() })
    this.#windowMemory = learnt?.of('window') ?? FORGETFUL
    for (const [destination, [size]] of this.#windowMemory.recalled()) {
      if (size !== undefined && size > 0) this.#windows.set(destination as Domain, { size, answers: 0 })
    }
  }

  /** How many more attempts may begin at it. */
  room(destination: Domain, now: Millis): number {
    const limit = Math.min(this.#options.maxConnections(), this.#windows.get(destination)?.size ?? Infinity)
    const most = limit - (this.#attempting.get(destination) ?? 0)
    return Math.max(0, this.#gates.admits(destination, now, most))
  }

  /** When the next closed gate will let a probe through; undefined when none is closed. */
  nextOpening(now: Millis): Millis | undefined {
    return this.#gates.nextOpening(now)
  }

  begin(destination: Domain): void {
    this.#attempting.set(destination, (this.#attempting.get(destination) ?? 0) + 1)
    this.#step(destination, { kind: 'dialled', at: this.#options.clock() })
  }

  leave(destination: Domain): void {
    const left = (this.#attempting.get(destination) ?? 1) - 1
    if (left === 0) this.#attempting.delete(destination)
    else this.#attempting.set(destination, left)
  }

  /** The attempt that began told nothing of it. */
  calledOff(destination: Domain): void {
    this.#step(destination, { kind: 'calledOff', at: this.#options.clock() })
  }

  /** It has failed when it said nothing of any recipient; one word about a single recipient is an answer. */
  attempted(destination: Domain, ends: ReadonlyMap<number, RecipientEnd>): void {
    const failed = ends.values().every(({ outcome }) => outcome.kind === 'deferred' && outcome.scope === 'destination')
    this.#step(destination, failed ? { kind: 'failed', at: this.#options.clock() } : { kind: 'answered' })
    if (!failed) this.#widen(destination)
  }

  notAttempted(destination: Domain, { because, until }: Extract<AttemptEnd, { kind: 'not-attempted' }>): void {
    const at = this.#options.clock()
    // All routes closed: until one opens, asking again would turn in a circle.
    if (because === 'RoutesClosed') return this.#step(destination, { kind: 'blocked', until: until ?? at + PROBE_MILLIS })
    this.#step(destination, { kind: 'calledOff', at })
    if (because !== 'Crowded') return
    const inUse = this.#attempting.get(destination) ?? 1
    const window = shrink(this.#windows.get(destination), inUse)
    this.#setWindow(destination, window)
    this.#options.log.info({ destination, connections: window.size }, 'window narrowed')
    // The others at that host are not of this destination: there is nothing to narrow, only to wait for.
    if (inUse === 1) this.#step(destination, { kind: 'blocked', until: at + CROWDED_MILLIS })
  }

  /** Bounded: a destination is forgotten when it takes as many connections as are configured, or when too many others came later. */
  #widen(destination: Domain): void {
    const window = this.#windows.get(destination)
    if (window === undefined) return
    const wider = grow(window, this.#options.maxConnections())
    this.#setWindow(destination, wider)
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= MAX_WINDOWS) break
      this.#setWindow(oldest, undefined)
    }
  }

  #setWindow(destination: Domain, window: ConcurrencyWindow | undefined): void {
    const before = this.#windows.get(destination)
    this.#windows.delete(destination)
    if (window !== undefined) this.#windows.set(destination, window)
    if (isNews(before, window)) this.#windowMemory.remember(destination, window && [window.size])
  }

  #step(destination: Domain, event: Parameters<Gates['step']>[1]): void {
    const moved = this.#gates.step(destination, event)
    if (moved !== undefined) this.#options.log.info({ destination, ...moved }, 'destination gate moved')
  }
}
