import { DRIFT, KERNEL_LATE, type Millis } from '../timers.ts'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

/** A node's monotonic clock, up to DRIFT off, and its kernel, which keeps an address up to KERNEL_LATE longer than its lifetime. */
export class Node {
  readonly #timeline: Timeline
  readonly #random: Random
  #rate: number
  #since: Millis = 0
  #local: Millis
  #address: { readonly until: Millis } | undefined

  constructor(timeline: Timeline, random: Random, rate?: number) {
    this.#timeline = timeline
    this.#random = random
    this.#rate = rate ?? someRate(random)
    // Clocks of different nodes have nothing in common.
    this.#local = random.whole(1_000_000, 9_000_000)
  }

  /** The monotonic clock. */
  get clock(): Millis {
    return this.#local + (this.#timeline.now - this.#since) * this.#rate
  }

  /** How long the node's clock takes for so much, in true time. */
  trueDelay(duration: Millis): Millis {
    return duration / this.#rate
  }

  changeRate(): void {
    this.#local = this.clock
    this.#since = this.#timeline.now
    this.#rate = someRate(this.#random)
  }

  get holdsAddress(): boolean {
    return this.#address !== undefined && this.clock < this.#address.until
  }

  giveAddress(lifetime: Millis): void {
    const late = this.#random.chance(0.5) ? KERNEL_LATE : this.#random.between(0, KERNEL_LATE)
    this.#address = { until: this.clock + lifetime + late }
  }

  dropAddress(): void {
    this.#address = undefined
  }
}

/** Half of them at the edge of what the hardware promises. */
function someRate(random: Random): number {
  return random.pick([1 - DRIFT, 1 + DRIFT, random.between(1 - DRIFT, 1 + DRIFT), 1])
}
