import type { Origin } from '../domain/epoch-table.ts'
import { parseQueueId, type QueueId } from '../domain/queue-id.ts'

/**
 * Rows of the schedule that fell due before their message was committed (R2: deliver only what is committed). They count as taken, so that
 * nobody comes upon them again and again, and are given back when the whole set has them.
 */
export class Uncommitted {
  readonly #held = new Map<string, { readonly key: Buffer; readonly sequence: number }>()
  /** Only of those that are not committed. */
  readonly #broughtBack = new Map<QueueId, number>()
  readonly #isOwn: (origin: Origin) => boolean
  #committed: number

  /** `isOwn`: whether an entry of this log stored the message first. Of others the sequence says nothing here. */
  constructor(committed: number, isOwn: (origin: Origin) => boolean) {
    this.#isOwn = isOwn
    this.#committed = committed
  }

  /** The entry by which a message came back that was first accepted elsewhere. */
  bringBack(queueId: QueueId, sequence: number): void {
    this.#broughtBack.set(queueId, sequence)
  }

  covers(queueId: QueueId): boolean {
    const sequence = this.#sequenceOf(queueId)
    return sequence <= this.#committed || (!this.#broughtBack.has(queueId) && !this.#isOwn(parseQueueId(queueId)))
  }

  #sequenceOf(queueId: QueueId): number {
    return this.#broughtBack.get(queueId) ?? parseQueueId(queueId).sequence
  }

  hold(key: Buffer, queueId: QueueId): void {
    this.#held.set(key.toString('latin1'), { key, sequence: this.#sequenceOf(queueId) })
  }

  /** The rows that may be given out from now on. */
  raise(committed: number): readonly Buffer[] {
    this.#committed = Math.max(this.#committed, committed)
    for (const [queueId, sequence] of this.#broughtBack) if (sequence <= this.#committed) this.#broughtBack.delete(queueId)
    return this.#release(({ sequence }) => sequence <= this.#committed)
  }

  /** The log is another one, committed up to here. */
  restart(committed: number): void {
    this.#committed = committed
    this.#broughtBack.clear()
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
