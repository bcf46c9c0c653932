import type { DiskSpace } from './disk-room.ts'
import type { LogKeeping } from './log-trimming.ts'
import type { Millis, QueueStore } from './queue-store.ts'
import type { Shard, StoreIdentity, StorePosition } from './store-meta.ts'
import type { ScrubOptions, ScrubResult } from './verify-store.ts'

/** The queue with its log: what main opens, and what replication will read and write. Everybody else sees the port `QueueStore`. */

export type StoreOptions = {
  readonly shard: Shard
  /** The volume's Kubernetes UID; left out where there is none. */
  readonly volume?: string
  readonly clock: () => Millis
  /** The store can keep no promise any more; everything rejects from now on. End the process with an error, so that it opens afresh. */
  readonly onBroken: (error: unknown) => void
  readonly logKeeping?: LogKeeping
  /** Left free for marks; by default 2 % of the volume, 16 MiB at least. */
  readonly reserveBytes?: number
  readonly measureSpace: () => DiskSpace
}

/** An entry as it lies in the log, byte for byte, and the content of the message it stores while that is in the queue. */
export type StoredEntry = { readonly sequence: number; readonly record: Buffer; readonly content?: Buffer }

export type LogQueueStore = QueueStore & {
  identity(): StoreIdentity
  /** Sequence of the newest durable entry; 0 when there was none yet. */
  lastSequence(): number
  /** Sequence of the oldest entry that was not trimmed; lastSequence + 1 when there is none. */
  firstSequence(): number
  /** Each epoch with its last sequence here. */
  epochs(): StorePosition['epochs']
  /**
   * Entries from `fromSequence` on, at most `limit` and about 8 MiB; none when `fromSequence` is beyond the last. Throws RangeError where
   * it is trimmed: the reader needs a full copy. An entry without content although it stores a message: a later entry finishes that message.
   */
  readLog(fromSequence: number, limit: number): readonly StoredEntry[]
  /** Makes another copy's changes here. They must follow the last entry without gap. Resolves when all are durable; stops at the first that does not fit. */
  applyEntries(entries: readonly StoredEntry[]): Promise<void>
  /** Reads and checks all messages in the background. Changes nothing; rejects only on the signal, and where the volume cannot be read. */
  scrub(signal: AbortSignal, options: ScrubOptions): Promise<ScrubResult>
}
