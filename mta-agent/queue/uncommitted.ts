import { parseQueueId, type QueueId } from '../domain/queue-id.ts'

/**
 * Rows of the schedule that fell due before their message was committed (R2: deliver only what is committed). They count as taken, so that
 * nobody comes upon them again and again, and are given back when the whole set has them.
 */
export class Uncommitted {
  readonly #held = new Map<string, { readonly key: Buffer; readonly sequence: number }>()
  #committed: number

  constructor(committed: number) {
    this.#committed = committed
  }

  covers(queueId: QueueId): boolean {
    return parseQueueId(queueId).sequence <= this.#committed
  }

  hold(key: Buffer, queueId: QueueId): void {
    this.#held.set(key.toString('latin1'), { key, sequence: parseQueueId(queueId).sequence })
  }

  /** The rows that may be given out from now on. */
  raise(committed: number): readonly Buffer[] {
    this.#committed = Math.max(this.#committed, committed)
    return this.#release(({ sequence }) => sequence <= this.#committed)
  }

  /** The log is another one, committed up to here. */
  restart(committed: number): void {
    this.#committed = committed
  }

  /** All of them, for the log may be cut. */
  clear(): readonly Buffer[] {
    return this.#release(() => true)
  }

  #release(may: (row: { readonly sequence: number }) => boolean): readonly Buffer[] {
    const released = [...this.#held].filter(([, row]) => may(row))
    for (const [name] of released) this.#held.delete(name)
    return released.map(([, { key }]) => key)
  }
}
