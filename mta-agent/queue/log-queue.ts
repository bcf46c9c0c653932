import type { Domain } from '../domain/envelope.ts'
import type { EpochTable, Origin } from '../domain/epoch-table.ts'
import type { QueueId } from '../domain/queue-id.ts'
import type { DiskSpace } from './disk-room.ts'
import type { Handled } from './handled.ts'
import type { LogKeeping } from './log-trimming.ts'
import type { Millis, QueueStore } from './queue-store.ts'
import type { Shard, StoreIdentity, Sums } from './store-meta.ts'
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
  /**
   * Other copies follow this log. The store then leads nothing until `beginEpoch`, gives out only what is committed, and can take back what
   * is not. Without it every entry is committed when it is durable, and nothing of this costs anything.
   */
  readonly replicated?: boolean
  /** The oldest entry that a copy in the set has yet to confirm; nothing from there on is trimmed. */
  readonly neededFrom?: () => number
  /** Called when a write to the disk begins, and when it has returned. Must not throw. */
  readonly onSyncing?: (underWay: boolean) => void
}

/** Asked of a replicated store that does not lead: nothing was changed. Mail is the leader's affair. */
export class NotLeading extends Error {
  override readonly name = 'NotLeading'
}

/** An entry as it lies in the log, byte for byte, and the content of the message it stores while that is in the queue. */
export type StoredEntry = { readonly sequence: number; readonly record: Buffer; readonly content?: Buffer }

/** Where a queue is in its log, and what it sums up to there. */
export type CopyState = Sums & {
  readonly table: EpochTable
  readonly sequence: number
  readonly notes: ReadonlyMap<string, string>
}

/** A message as it lies in a queue, with what is still to be done for it. Records and rows are kept byte for byte. */
export type CopiedMessage = {
  readonly queueId: QueueId
  readonly record: Buffer
  readonly deliveries: readonly { readonly destination: Domain; readonly row: Buffer }[]
}

/** Without content: it is damaged where it comes from, and shall be missing here as well. */
export type CopiedContent = { readonly queueId: QueueId; readonly content: Buffer | undefined }

/**
 * The giving side of a full copy (section 7): the queue as it is at one place of its log. While it is open the volume grows by all that is
 * written. Entries after `state.sequence` are for the log to give: hold them by `neededFrom`. The other side must not be told to finish
 * before that place is committed, for it could not take back what it was given.
 */
export type CopySource = Disposable & {
  readonly state: CopyState
  /** All messages in the order of their queue ids, in stretches of about 1 MiB at most. */
  inventory(): Iterable<readonly CopiedMessage[]>
  /** undefined where it is damaged. Throws RangeError when the message is not in the inventory. */
  content(queueId: QueueId): Buffer | undefined
}

/** What a full copy is made of: the primary's epoch, the last forced one, and the place of its queue. */
export type FullCopy = { readonly epoch: number; readonly forcedEpoch: number; readonly state: CopyState }

/** The taking side of a full copy. One that is broken off is begun again, and asks for no content that is here. */
export type CopyTarget = {
  /**
   * The next of the primary's messages, in the order of the inventory; those of here that lie between are finished there, and go. Resolves, when
   * durable, to those whose content is missing. Throws RangeError, and CorruptRecord for a record that is damaged; nothing is changed then.
   */
  put(messages: readonly CopiedMessage[]): Promise<readonly QueueId[]>
  /** Contents that were missing. Throws CorruptRecord for one that is not what was accepted. */
  putContents(contents: readonly CopiedContent[]): Promise<void>
  /** All was named and no content is missing: complete from here on, and behind `state.sequence` the log goes on. */
  finish(): Promise<void>
}

/** A message that is no part of this log any more, but whose client may have been told 250 (R8). */
export type AsideMessage = { readonly queueId: QueueId; readonly origin: Origin; readonly sizeBytes: number }

/** What is left of it to do, and its content; the record vouches for both. */
export type OfferedMessage = { readonly queueId: QueueId; readonly record: Buffer; readonly content: Buffer }

export type LogQueueStore = QueueStore & {
  identity(): StoreIdentity
  /** Sequence of the newest durable entry; 0 when there was none yet. */
  lastSequence(): number
  /** Sequence of the oldest entry that was not trimmed; lastSequence + 1 when there is none. */
  firstSequence(): number
  /** Each epoch that has entries here, with its last sequence. */
  epochTable(): EpochTable
  /** The lowest place that the log can be cut to: what is before it is committed, or was when the store was opened without a leader. */
  cutsTo(): number
  /** Whether this is all of the log, or a copy that was not finished. */
  isComplete(): boolean
  /** Called after each commit that added entries, with the last sequence. Returns how to stop that. It must not throw. */
  onSynced(listener: (lastSequence: number) => void): () => void
  /** All up to here is confirmed by the whole set: it may be delivered, and what it finished may go. Never goes back. */
  setCommitted(sequence: number): void
  /** The highest epoch that this disk has followed or led, durably (R4). Throws RangeError when it would go down. */
  storeSeen(epoch: number): Promise<void>
  /** Leads: `seen` is durable, and entries from now on are of this epoch. */
  beginEpoch(epoch: number): Promise<void>
  /**
   * Whether settling waits for a full disk to have room, as it does at first. Otherwise it rejects with QueueFull there, what was attempted is due
   * again, and the store goes on: for a leader that hands over and must not wait for its disk.
   */
  setMarksWait(wait: boolean): void
  /** Leads no more: what waits to be stored is refused with NotLeading, what was given out and is not being settled is due again. */
  stopLeading(): void
  /**
   * Follows another log (R8), in one transaction: everything after `parting` is taken back, of it set aside what was accepted before a
   * forced promotion, and `seen` is the epoch. Throws RangeError below `cutsTo`; nothing is changed then.
   */
  joinEpoch(join: { readonly epoch: number; readonly parting: number; readonly forcedEpoch: number }): Promise<void>
  openCopySource(): CopySource
  /** Incomplete, durably, from before the first change until the copy is finished. What the other log has not come to is set aside or dropped (R8). */
  beginCopy(copy: FullCopy): Promise<CopyTarget>
  /** What was set aside, in the order of queue ids. */
  aside(): readonly AsideMessage[]
  /** One of them, for the primary. Throws CorruptRecord where it is damaged: then it cannot be offered. */
  readAside(queueId: QueueId): OfferedMessage
  /**
   * As the leader: takes a message that another copy set aside for an entry of this log, under its name. `from` is where the offer of its epoch
   * goes on: one more than the table has, or than the message before it. Resolves when durable. Throws RangeError where it does not: it was
   * taken already, or something is missing before it.
   */
  takeBack(message: OfferedMessage, from: number): Promise<void>
  /** Notes something that must move with the queue, or takes it off. As the leader; resolves when durable. Throws RangeError for one that does not fit, or is one too many. */
  note(key: string, value: string | undefined): Promise<void>
  notes(): ReadonlyMap<string, string>
  /** What has happened to its mail since the log began. */
  handled(): Handled
  /** Wall clock of the last quick claim after a restart (R5); 0: none. */
  quickClaimAt(): Millis
  noteQuickClaim(wall: Millis): Promise<void>
  /**
   * Entries from `fromSequence` on, at most `limit` and about 8 MiB; none when `fromSequence` is beyond the last. Throws RangeError where
   * it is trimmed: the reader needs a full copy. An entry without content although it stores a message: a later entry finishes that message.
   */
  readLog(fromSequence: number, limit: number): readonly StoredEntry[]
  /** Makes another copy's changes here. They must follow the last entry without gap. Resolves when all are durable; stops at the first that does not fit. */
  applyEntries(entries: readonly StoredEntry[]): Promise<void>
  /**
   * Reads and checks all messages in the background. Changes nothing; rejects only on the signal, and where the volume cannot be read. A copy
   * that is not complete is not looked at.
   */
  scrub(signal: AbortSignal, options: ScrubOptions): Promise<ScrubResult>
}
