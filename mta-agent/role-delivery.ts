import type { Scheduler, UnavailableAddress } from './delivery/ports.ts'
import type { Millis, QueueStore } from './queue/queue-store.ts'

/**
 * Delivery that comes and goes with the role (hot standby): a scheduler for each reign, none between. What must never happen: two of them at
 * a time.
 */

export type RoleDeliveryOptions = {
  /** A new scheduler that takes from this queue. */
  readonly open: (queue: QueueStore) => Scheduler
  /** Source addresses of the settings: an instance of a shard has them whether or not it delivers now. */
  readonly assigned: () => readonly string[]
}

export class RoleDelivery implements Scheduler {
  readonly #options: RoleDeliveryOptions
  #scheduler: Scheduler | undefined
  #stopping: Promise<void> = Promise.resolve()
  #ended = false

  constructor(options: RoleDeliveryOptions) {
    this.#options = options
  }

  /** The one before must have stopped. */
  start(queue: QueueStore): void {
    if (this.#scheduler !== undefined) throw new Error('delivery must have stopped before it starts again, had not')
    if (!this.#ended) this.#scheduler = this.#options.open(queue)
  }

  /** Cuts what runs. */
  async cut(): Promise<void> {
    await this.#stop(0)
  }

  reconfigure(): void {
    this.#scheduler?.reconfigure()
  }

  /** For good: no reign starts another. */
  async stop(graceMillis: Millis): Promise<void> {
    this.#ended = true
    await this.#stop(graceMillis)
  }

  async #stop(graceMillis: Millis): Promise<void> {
    const scheduler = this.#scheduler
    if (scheduler !== undefined) {
      this.#stopping = scheduler.stop(graceMillis)
      await this.#stopping
      if (this.#scheduler === scheduler) this.#scheduler = undefined
    }
    await this.#stopping
  }

  inFlight(): number {
    return this.#scheduler?.inFlight() ?? 0
  }

  usedAddresses(): readonly string[] {
    return this.#scheduler?.usedAddresses() ?? this.#options.assigned()
  }

  unavailableAddresses(): readonly UnavailableAddress[] {
    return this.#scheduler?.unavailableAddresses() ?? []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0)
  }
}
