import type { StoredEntry } from './log-queue.ts'

/**
 * The last entries of the log as they were written, for whoever sends them on at once: so none is read back from the disk. What must never happen: an
 * entry that is not durable, or was taken back; more memory than the bound.
 */
export class RecentEntries {
  /** In the order of the log, without a gap. */
  readonly #entries = new Map<number, StoredEntry>()
  readonly #capacityBytes: number
  #bytes = 0

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes
  }

  /** They are durable now. Those before them stay only where these follow. */
  note(entries: readonly StoredEntry[]): void {
    for (const entry of entries) {
      if (!this.#entries.has(entry.sequence - 1) || this.#entries.has(entry.sequence)) this.clear()
      this.#entries.set(entry.sequence, entry)
      this.#bytes += bytesOf(entry)
    }
    this.#dropWhile(() => this.#bytes > this.#capacityBytes)
  }

  of(sequence: number): StoredEntry | undefined {
    return this.#entries.get(sequence)
  }

  /** Nobody needs what lies before it. */
  dropBefore(sequence: number): void {
    this.#dropWhile((first) => first.sequence < sequence)
  }

  #dropWhile(goes: (first: StoredEntry) => boolean): void {
    for (const entry of this.#entries.values()) {
      if (!goes(entry)) return
      this.#entries.delete(entry.sequence)
      this.#bytes -= bytesOf(entry)
    }
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
  }
}

export const bytesOf = ({ record, content }: StoredEntry): number => record.length + (content?.length ?? 0)
