/**
 * What entries free when they are committed, for those that were written a short while ago: nearly all are committed then, and their undo need
 * not be read back. Of all others it is read from the disk. What must never happen: it tells of an entry that was taken back since.
 */
export class RecentFrees {
  readonly #frees = new Map<number, readonly Buffer[]>()

  /** Keys of the contents that may go when the entry is committed. To be said of every entry: what was known of its sequence is of another. */
  note(sequence: number, frees: readonly Buffer[]): void {
    if (this.#frees.size < MAX_ENTRIES || this.#frees.has(sequence)) this.#frees.set(sequence, frees)
  }

  of(sequence: number): readonly Buffer[] | undefined {
    return this.#frees.get(sequence)
  }

  /** Those from `first` up to `end`, exclusive, are forgotten. */
  drop(first: number, end: number): void {
    for (let sequence = first; sequence < end; sequence++) this.#frees.delete(sequence)
  }

  clear(): void {
    this.#frees.clear()
  }
}

/** Some seconds of a busy queue. */
const MAX_ENTRIES = 20_000
