import { Batch, type BatchOptions, type ScheduleMove } from './batch.ts'
import { RoomMeter } from './disk-room.ts'
import { GroupCommit, type CommitResult } from './group-commit.ts'
import { sequenceKey } from './keys.ts'
import { readEntryHead } from './log-entry.ts'
import type { StoredEntry, StoreOptions } from './log-queue.ts'
import { DEFAULT_LOG_KEEPING, planTrim } from './log-trimming.ts'
import { QueueFull } from './queue-store.ts'
import { RecentEntries } from './recent-entries.ts'
import { RecentFrees } from './recent-frees.ts'
import { CorruptRecord } from './record.ts'
import { currentOf, decodePosition, POSITION_KEY, type StorePosition } from './store-meta.ts'
import { NoSpace, type Tables } from './tables.ts'

/**
 * The writing side of the log: changes in, one durable transaction at a time out. What must never happen: a promise resolves before its
 * change is durable; a change is in the tables and not in the log, or the other way round; a commit that failed is taken for done.
 */

type Change = {
  readonly sizeBytes: number
  /** How many entries it brings; one, if not said. */
  readonly entries?: number
  /** Marks of attempts wait until the disk has room, unless somebody does not want to wait for them; what people send cannot. */
  readonly whenFull: 'wait' | 'refuse' | 'waitAsMark'
  /** Throws where it does not fit; the others of the batch are not concerned. */
  readonly addTo: (batch: Batch) => void
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

export type NewChange = Pick<Change, 'sizeBytes' | 'entries' | 'whenFull' | 'addTo'> & { readonly done?: () => void }

/** Told of each commit: first what moved in the schedule, then, when all its changes know that they are done, that something may be due. */
export type CommitListener = {
  readonly moved: (moves: readonly ScheduleMove[]) => 'more is due' | 'as before'
  readonly due: () => void
} & Required<Pick<BatchOptions, 'onTakenBack'>>

/** Where an opened log stands. `firstUndo`: the first entry that can be taken back; one more than the last when there is none. */
export type LogPlace = { readonly position: StorePosition; readonly firstSequence: number; readonly firstUndo: number }

export class LogWriter {
  readonly #tables: Tables
  readonly #options: StoreOptions
  readonly #room: RoomMeter
  readonly #listener: CommitListener
  readonly #commits = new GroupCommit<Change>(
    (changes) => this.#commit(changes),
    (change) => (this.#waits(change) ? undefined : new QueueFull('the disk is full')),
  )
  #position: StorePosition
  #firstSequence: number
  /** Everything before it cannot be taken back any more. */
  #firstUndo: number
  #committed = 0
  #forgetting: NodeJS.Timeout | undefined
  readonly #frees = new RecentFrees()
  readonly #recent = new RecentEntries(RECENT_BYTES)
  #clearing = false
  #marksWait = true
  #epoch = 0

  constructor(tables: Tables, options: StoreOptions, at: LogPlace, listener: CommitListener) {
    this.#tables = tables
    this.#options = options
    this.#room = new RoomMeter(options.measureSpace, options.reserveBytes)
    this.#listener = listener
    this.#position = at.position
    this.#firstSequence = at.firstSequence
    this.#firstUndo = at.firstUndo
  }

  position(): StorePosition {
    return this.#position
  }

  firstSequence(): number {
    return this.#firstSequence
  }

  lastSequence(): number {
    return currentOf(this.#position).sequence
  }

  /** The lowest place that the log can be cut to. */
  cutsTo(): number {
    // What is committed is forgotten a little later.
    return Math.max(this.#firstUndo - 1, this.#committed)
  }

  /** Entries from now on are of this epoch, unless they bring one. */
  setEpoch(epoch: number): void {
    this.#epoch = epoch
  }

  committed(): number {
    return this.#committed
  }

  /** All up to here is on every disk of the set: it will not be taken back. A lower place than before is no news. */
  setCommitted(sequence: number): void {
    this.#committed = Math.max(this.#committed, Math.min(sequence, this.lastSequence()))
    this.#forgetSoon()
  }

  /**
   * With the next commit, whoever makes it: what is committed costs no commit of its own, for which those that come next would have to wait. Where
   * none comes, with one that does nothing else.
   */
  #forgetSoon(): void {
    if (this.#forgetting !== undefined || this.#firstUndo > this.#committed) return
    this.#forgetting = setTimeout(() => {
      this.#forgetting = undefined
      if (this.#commits.isBusy()) this.#forgetSoon()
      else this.#forgetNow()
    }, FORGOTTEN_WITHIN)
    this.#forgetting.unref()
  }

  #forgetNow(): void {
    if (this.#clearing || this.#firstUndo > this.#committed) return
    const forgotten = this.change({ sizeBytes: 0, whenFull: 'wait', addTo: () => undefined })
    // One that is closed or broken has told so itself, and forgets when it is opened again.
    forgotten.then(
      () => this.#forgetSoon(),
      () => undefined,
    )
  }

  /** The end of what the batch forgets. */
  #forget(batch: Batch): number {
    // Who clears the log forgets all of it, perhaps in this very batch.
    const end = this.#clearing ? this.#firstUndo : Math.min(this.#committed + 1, this.#firstUndo + MAX_FORGOTTEN)
    batch.forget(this.#firstUndo, end)
    return end
  }

  /** Removes all entries and what could take them back, some at a time; the place of the log stays. Nothing else may add to it meanwhile. */
  async clearLog(): Promise<void> {
    this.#clearing = true
    try {
      while (this.#firstSequence <= this.lastSequence()) await this.#clearSome()
    } finally {
      this.#clearing = false
    }
  }

  async #clearSome(): Promise<void> {
    let end = 0
    await this.change({
      sizeBytes: 0,
      whenFull: 'wait',
      addTo: (batch) => {
        end = Math.min(this.#firstSequence + MAX_FORGOTTEN, this.lastSequence() + 1)
        batch.forget(this.#firstUndo, end)
        batch.trim(this.#firstSequence, end)
      },
      done: () => {
        this.#firstSequence = end
        this.#firstUndo = Math.max(this.#firstUndo, end)
        this.#forgetRecent()
      },
    })
  }

  /** The log is another's that ends here, all of it committed; it has no entry yet. */
  restartAfter(sequence: number): void {
    this.#firstSequence = sequence + 1
    this.#firstUndo = sequence + 1
    this.#committed = sequence
    this.#forgetRecent()
  }

  room(sizeBytes: number): 'room' | 'full' {
    return this.isStuck() ? 'full' : this.#room.judge(sizeBytes)
  }

  /** Nothing gets through: changes wait for the disk to have room, or the end has come. */
  isStuck(): boolean {
    return this.#commits.isStuck()
  }

  /** Resolves when the change is durable; rejects when nothing of it will ever be seen. */
  async change(change: NewChange): Promise<void> {
    const { sizeBytes, entries } = change
    this.#room.promised(sizeBytes)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#commits.push({
      sizeBytes,
      ...(entries !== undefined && { entries }),
      whenFull: change.whenFull,
      addTo: change.addTo,
      done: () => {
        this.#room.committed(sizeBytes)
        change.done?.()
        resolve()
      },
      failed: (error) => {
        this.#room.refused(sizeBytes)
        reject(error)
      },
    })
    return promise
  }

  /** From the next commit on; it is tried about once a second while the disk is full. */
  setMarksWait(wait: boolean): void {
    this.#marksWait = wait
  }

  #waits({ whenFull }: Change): boolean {
    return whenFull === 'waitAsMark' ? this.#marksWait : whenFull === 'wait'
  }

  /** One that was written a moment ago, while a follower needs it. */
  recentEntry(sequence: number): StoredEntry | undefined {
    return this.#recent.of(sequence)
  }

  readEntry(sequence: number): Buffer {
    const record = this.#tables.get('log', sequenceKey(sequence))
    if (!record) throw new CorruptRecord(`log ${sequence}`, 'there', 'missing')
    return record
  }

  async #commit(changes: readonly Change[]): Promise<CommitResult<Change>> {
    const batch = new Batch(this.#tables, {
      position: this.#position,
      epoch: this.#epoch,
      keepsUndo: this.#options.replicated === true,
      onTakenBack: this.#listener.onTakenBack,
      freesOf: (sequence) => this.#frees.of(sequence),
    })
    const added = changes.filter((change) => succeeds(() => change.addTo(batch), change.failed))
    if (added.length === 0) return { again: [] }
    let firstSequence = this.#firstSequence
    let forgotten = this.#firstUndo
    try {
      forgotten = this.#forget(batch)
      firstSequence = this.#trim(batch, forgotten)
      this.#options.onSyncing?.(true)
      await this.#tables.commit(batch.writes())
    } catch (error) {
      return this.#commitFailed(error, batch, added)
    } finally {
      this.#options.onSyncing?.(false)
    }
    const last = this.lastSequence()
    this.#position = batch.position()
    this.#firstSequence = firstSequence
    if (this.lastSequence() < last) this.#forgetRecent()
    this.#noteUndo(batch, forgotten)
    this.#noteRecent(batch)
    const news = this.#listener.moved(batch.moves())
    for (const change of added) change.done()
    const woken = news === 'more is due' || this.#commits.isStuck()
    return { again: [], ...(woken && { wake: this.#listener.due }) }
  }

  #noteUndo(batch: Batch, forgotten: number): void {
    this.#frees.drop(this.#firstUndo, forgotten)
    this.#firstUndo = Math.max(this.#firstUndo, forgotten)
    for (const { sequence, frees } of batch.frees()) this.#frees.note(sequence, frees)
  }

  /** While somebody follows. */
  #noteRecent(batch: Batch): void {
    const neededFrom = this.#options.neededFrom?.() ?? Infinity
    if (neededFrom === Infinity) {
      this.#recent.clear()
      return
    }
    this.#recent.note(batch.entries())
    this.#recent.dropBefore(neededFrom)
  }

  /** The log is not what it was. */
  #forgetRecent(): void {
    this.#frees.clear()
    this.#recent.clear()
  }

  /** Twice what is added, so that the log shrinks to its bound also after a time in which it was longer. */
  #trim(batch: Batch, forgotten: number): number {
    const firstSequence = planTrim({
      keeping: this.#options.logKeeping ?? DEFAULT_LOG_KEEPING,
      first: this.#firstSequence,
      last: Math.min(this.lastSequence(), this.#mayTrimTo(forgotten)),
      now: Math.floor(this.#options.clock()),
      writtenAt: (sequence) => readEntryHead(this.readEntry(sequence), `log ${sequence}`).at,
      atMost: 2 * Math.max(1, batch.entries().length),
    })
    batch.trim(this.#firstSequence, firstSequence)
    return firstSequence
  }

  /** Neither what can still be taken back, nor what a copy in the set has yet to read. */
  #mayTrimTo(forgotten: number): number {
    if (this.#options.replicated !== true) return Infinity
    return Math.min(this.#committed, forgotten, this.#options.neededFrom?.() ?? Infinity)
  }

  /** A full disk is a state that passes; anything else ends the store, also damage that is met on a full disk. In both cases nothing of the batch may be there. */
  #commitFailed(error: unknown, batch: Batch, added: readonly Change[]): CommitResult<Change> {
    if (error instanceof CorruptRecord || !this.#isUnchanged() || !this.#isDiskFull(error, batch)) return this.#broken(error, added)
    const again = added.filter((change) => this.#waits(change))
    for (const change of added) if (!again.includes(change)) change.failed(new QueueFull('the disk became full', { cause: error }))
    return { again }
  }

  #isUnchanged(): boolean {
    try {
      const record = this.#tables.get('meta', POSITION_KEY)
      return record !== undefined && currentOf(decodePosition(record)).sequence === this.lastSequence()
    } catch {
      // An engine that cannot be read after a failed write is broken; the error that is reported is that of the write.
      return false
    }
  }

  /** lmdb reports a short write as EIO, so the error alone does not tell. */
  #isDiskFull(error: unknown, batch: Batch): boolean {
    return error instanceof NoSpace || this.#room.measure().freeBytes < 2 * batch.sizeBytes() + NEARLY_NOTHING_BYTES
  }

  /** Ends the store: nothing that is asked of it from now on can be kept. */
  broken(error: unknown): void {
    this.#broken(error, [])
  }

  #broken(error: unknown, added: readonly Change[]): CommitResult<Change> {
    const broken = new Error(`the queue is broken: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    for (const change of added) change.failed(broken)
    this.#commits.stop(broken)
    this.#options.onBroken(broken)
    return { again: [] }
  }

  stopWaiting(): void {
    this.#commits.stopWaiting()
  }

  /** Waits for what was begun; what comes later fails. */
  close(): Promise<void> {
    clearTimeout(this.#forgetting)
    if (!this.isStuck()) this.#forgetNow()
    return this.#commits.close()
  }
}

/** As many as one batch may bring, twice: modest for the free list, and never slower than what comes. */
const MAX_FORGOTTEN = 512
const FORGOTTEN_WITHIN = 50
/** Confirmed within milliseconds by one who keeps up; whoever does not reads from the disk. */
const RECENT_BYTES = 16 * 2 ** 20
const NEARLY_NOTHING_BYTES = 2 ** 20

export function succeeds(action: () => void, failed: (error: unknown) => void): boolean {
  try {
    action()
    return true
  } catch (error) {
    failed(error)
    return false
  }
}
