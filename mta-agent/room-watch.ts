import type { QueueId } from './domain/queue-id.ts'
import { QueueFull, type NewMessage, type QueueStore } from './queue/queue-store.ts'

/**
 * The queue as submission sees it, and when mail was last turned away for lack of room. A volume with room for a small message and none for
 * those that come is full for those who send them, and an admin must be told.
 */
export class RoomWatch implements Pick<QueueStore, 'append' | 'room'> {
  readonly #store: Pick<QueueStore, 'append' | 'room'>
  readonly #clock: () => number
  #refusedAt = Number.NEGATIVE_INFINITY

  constructor(store: Pick<QueueStore, 'append' | 'room'>, clock: () => number) {
    this.#store = store
    this.#clock = clock
  }

  async append(message: NewMessage): Promise<QueueId> {
    try {
      return await this.#store.append(message)
    } catch (error) {
      if (error instanceof QueueFull) this.#refusedAt = this.#clock()
      throw error
    }
  }

  room(sizeBytes: number): 'room' | 'full' {
    const room = this.#store.room(sizeBytes)
    if (room === 'full') this.#refusedAt = this.#clock()
    return room
  }

  /** Whether mail was turned away within the last half minute: clients come back sooner than that while there is no room. */
  refusesMail(): boolean {
    return this.#clock() - this.#refusedAt < REFUSES_FOR_MILLIS
  }
}

const REFUSES_FOR_MILLIS = 30_000
