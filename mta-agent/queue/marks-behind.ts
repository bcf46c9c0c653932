/**
 * Deliveries whose marks are durable here and not yet confirmed by the whole set. Were this copy lost now, its heir would send them again (S4), so
 * there is a most of them: a standby that is slow or gone holds up new transactions rather than let them grow.
 */
export class MarksBehind {
  /** In the order of the log. */
  #sequences: number[] = []

  delivered(sequence: number): void {
    this.#sequences.push(sequence)
  }

  /** Everything up to here is confirmed. */
  raise(committed: number): 'room again' | 'as before' {
    const before = this.areMany()
    const first = this.#sequences.findIndex((sequence) => sequence > committed)
    if (first !== 0) this.#sequences = first === -1 ? [] : this.#sequences.slice(first)
    return before && !this.areMany() ? 'room again' : 'as before'
  }

  areMany(): boolean {
    return this.#sequences.length >= MOST
  }

  /** The log may be cut. */
  clear(): void {
    this.#sequences = []
  }
}

/** With what is under way, the most messages that a failover sends twice. A pair confirms in milliseconds and is never near it. */
const MOST = 500
