import { rowOf, type EpochTable, type Origin } from '../domain/epoch-table.ts'
import { formatQueueId, type QueueId } from '../domain/queue-id.ts'
import type { Batch, ScheduleMove } from './batch.ts'
import { firstAcceptedAt } from './expired-messages.ts'
import { queueIdKey } from './keys.ts'
import { letGo, listAside, readOffered } from './aside.ts'
import type { Handled } from './handled.ts'
import { MAX_NOTES, readNotes, requireNote, type Notes } from './notes.ts'
import { planTakingBack } from './take-back.ts'
import { openCopySource } from './copy-source.ts'
import { QueueCopyTarget } from './copy-target.ts'
import {
  NotLeading,
  type AsideMessage,
  type CopySource,
  type CopyTarget,
  type FullCopy,
  type LogQueueStore,
  type OfferedMessage,
  type StoredEntry,
  type StoreOptions,
} from './log-queue.ts'
import { applyEntries, readLog } from './log-entries.ts'
import { decodeLogEntry, type LogEntry, type Mark } from './log-entry.ts'
import { LogEpochs } from './log-epochs.ts'
import { LogWriter } from './log-writer.ts'
import { MarksBehind } from './marks-behind.ts'
import { decodeMessage, describeMessage, type MessageRecord } from './message-record.ts'
import {
  QueueFull,
  type DestinationRoom,
  type Delivery,
  type DeliveryResult,
  type Millis,
  type NewMessage,
  type QueueTotals,
  type StoredMessage,
} from './queue-store.ts'
import { CorruptRecord, kindOf } from './record.ts'
import { currentOf, type StoreIdentity } from './store-meta.ts'
import type { Tables } from './tables.ts'
import { TakenDeliveries } from './taken-deliveries.ts'
import { forgetAll } from './undo.ts'
import { Uncommitted } from './uncommitted.ts'
import { checkContent, openVerified, scrubMessages, type OpenedStore, type ScrubOptions, type ScrubResult } from './verify-store.ts'

/**
 * The queue over tables: port `QueueStore`, and the log that standbys will follow. What must never happen: a promise resolves before its
 * change is durable; a change is in the tables and not in the log, or the other way round; a commit that failed is taken for done.
 */

/** Takes ownership of the tables. Throws ForeignVolume, CorruptRecord, and an error for half a copy that nobody will finish; the tables are then still the caller's. */
export async function openQueueStore(tables: Tables, options: StoreOptions): Promise<LogQueueStore> {
  const opened = await openVerified(tables, { shard: options.shard, volume: options.volume ?? '' })
  if (options.replicated === true) return new TableQueueStore(tables, options, opened)
  if (opened.identity.complete === false) {
    throw new Error('a queue that is opened without replication must be whole, was a copy of another that was not finished')
  }
  await forgetAll(tables)
  return new TableQueueStore(tables, options, { ...opened, firstUndo: currentOf(opened.position).sequence + 1 })
}

class TableQueueStore implements LogQueueStore {
  readonly #tables: Tables
  readonly #options: StoreOptions
  readonly #epochs: LogEpochs
  readonly #uncommitted: Uncommitted
  readonly #marksBehind = new MarksBehind()
  readonly #synced = new Set<(lastSequence: number) => void>()
  readonly #taken: TakenDeliveries
  readonly #writer: LogWriter
  #onDue: () => void = () => {}
  #leads: boolean
  /** Notes under way. */
  #noting = 0

  constructor(tables: Tables, options: StoreOptions, opened: OpenedStore) {
    this.#tables = tables
    this.#options = options
    this.#leads = options.replicated !== true
    const isOwn = ({ epoch, sequence }: Origin): boolean =>
      epoch >= this.identity().seen || sequence <= rowOf(this.epochTable(), epoch).last
    this.#uncommitted = new Uncommitted(options.replicated === true ? opened.firstUndo - 1 : Infinity, isOwn)
    this.#taken = new TakenDeliveries(tables, opened.lanes, this.#uncommitted)
    if (!this.#leads) this.#taken.sleep()
    this.#writer = new LogWriter(tables, options, opened, {
      moved: (moves) => this.#follow(moves),
      due: () => this.#onDue(),
      onTakenBack: (queueId, sequence) => this.#uncommitted.bringBack(queueId, sequence),
    })
    this.#epochs = new LogEpochs(tables, this.#writer, opened.identity)
    for (let sequence = opened.firstUndo; sequence <= this.lastSequence(); sequence++) {
      const entry = decodeLogEntry(this.#writer.readEntry(sequence), `log ${sequence}`)
      if (entry.kind === 'takenBack') this.#uncommitted.bringBack(entry.queueId, sequence)
    }
  }

  async append(message: NewMessage): Promise<QueueId> {
    const described = describeMessage(message)
    this.#requireLeading()
    if (this.room(described.sizeBytes) === 'full') throw new QueueFull(`no room for ${described.sizeBytes} bytes`)
    let queueId: QueueId | undefined
    await this.#writer.change({
      sizeBytes: described.sizeBytes,
      whenFull: 'refuse',
      addTo: (batch) => {
        this.#requireLeading()
        const entry = { ...batch.next(), at: this.#now(), kind: 'stored', message: described } as const
        batch.add(entry, message.content)
        queueId = formatQueueId(entry)
      },
    })
    return queueId!
  }

  takeDue(now: Millis, limit: number, room?: DestinationRoom): readonly Delivery[] {
    return this.#gives() ? this.#orBroken(() => this.#taken.takeDue(now, limit, room)) : []
  }

  /** Whoever delivered now could not write it down, or not where it counts, and it would be delivered again after a crash. */
  #gives(): boolean {
    return this.#leads && !this.#writer.isStuck() && !this.#marksBehind.areMany()
  }

  nextDueAt(room?: DestinationRoom): Millis | undefined {
    return this.#taken.nextDueAt(room)
  }

  takeExpired(acceptedBefore: Millis, limit: number): readonly Delivery[] {
    return this.#gives() ? this.#orBroken(() => this.#taken.takeExpired(acceptedBefore, limit)) : []
  }

  /** All these rows were checked when the store was opened: one that is damaged now means that none can be relied on. */
  #orBroken<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (error instanceof CorruptRecord) this.#writer.broken(error)
      throw error
    }
  }

  onDue(listener: () => void): void {
    this.#onDue = listener
  }

  release(deliveries: readonly Delivery[]): void {
    // They were given back when the lead was lost.
    if (!this.#leads) return
    this.#taken.giveBack(deliveries)
  }

  async settle(result: DeliveryResult, report?: NewMessage): Promise<void> {
    this.#requireLeading()
    const taken = this.#taken.require(result)
    const described = report && describeMessage(report)
    const { queueId, destination, at, outcomes, nextAttemptAt } = result
    const mark: Mark = { queueId, destination, at, outcomes, ...(nextAttemptAt !== undefined && { nextAttemptAt }) }
    taken.settling = true
    let sequence = 0
    try {
      await this.#writer.change({
        sizeBytes: described?.sizeBytes ?? 0,
        whenFull: 'waitAsMark',
        addTo: (batch) => {
          this.#requireLeading()
          const entry: LogEntry = { ...batch.next(), at: this.#now(), kind: 'settled', mark, ...(described && { report: described }) }
          batch.add(entry, report?.content)
          sequence = entry.sequence
        },
        done: () => {
          this.#taken.settled(result)
          if (outcomes.some(({ outcome }) => outcome.kind === 'delivered')) this.#noteDelivered(sequence)
        },
      })
    } catch (error) {
      taken.settling = false
      if (error instanceof NotLeading || error instanceof QueueFull) this.#taken.giveBack([result])
      throw error
    }
  }

  #noteDelivered(sequence: number): void {
    if (this.#options.replicated === true && this.#leads && sequence > this.#writer.committed()) this.#marksBehind.delivered(sequence)
  }

  stopWaiting(): void {
    this.#writer.stopWaiting()
  }

  setMarksWait(wait: boolean): void {
    this.#writer.setMarksWait(wait)
  }

  readMessage(queueId: QueueId): StoredMessage | undefined {
    const message = this.#readRecord(queueId)
    return message && { queueId, envelope: message.envelope, acceptedAt: message.acceptedAt, sizeBytes: message.sizeBytes }
  }

  /** Throws CorruptRecord where the content is not what was accepted. */
  readContent(queueId: QueueId): Buffer | undefined {
    const message = this.#readRecord(queueId)
    return message && checkContent(this.#tables.get('bodies', queueIdKey(queueId)), message, `bodies ${queueId}`)
  }

  #readRecord(queueId: QueueId): MessageRecord | undefined {
    const record = this.#tables.get('messages', queueIdKey(queueId))
    return record && decodeMessage(record, `messages ${queueId}`)
  }

  totals(): QueueTotals {
    const oldestAcceptedAt = firstAcceptedAt(this.#tables)
    return { ...this.#writer.position().totals, ...(oldestAcceptedAt !== undefined && { oldestAcceptedAt }) }
  }

  room(sizeBytes: number): 'room' | 'full' {
    return this.#writer.room(sizeBytes)
  }

  #requireLeading(): void {
    if (!this.#leads) throw new NotLeading('this copy of the queue must lead to be changed, but follows')
  }

  identity(): StoreIdentity {
    return this.#epochs.identity()
  }

  lastSequence(): number {
    return this.#writer.lastSequence()
  }

  firstSequence(): number {
    return this.#writer.firstSequence()
  }

  epochTable(): EpochTable {
    return this.#epochs.table()
  }

  cutsTo(): number {
    return this.#writer.cutsTo()
  }

  isComplete(): boolean {
    return this.#epochs.isComplete()
  }

  onSynced(listener: (lastSequence: number) => void): () => void {
    this.#synced.add(listener)
    return () => this.#synced.delete(listener)
  }

  setCommitted(sequence: number): void {
    this.#writer.setCommitted(sequence)
    const committed = this.#writer.committed()
    const [due, room] = [this.#taken.raise(committed), this.#marksBehind.raise(committed)]
    if (due === 'more is due' || room === 'room again') this.#onDue()
  }

  storeSeen(epoch: number): Promise<void> {
    return this.#epochs.storeSeen(epoch)
  }

  async beginEpoch(epoch: number): Promise<void> {
    if (this.#options.replicated !== true) throw new Error('the store must be replicated to lead an epoch, was not')
    await this.#epochs.begin(epoch)
    this.#leads = true
    this.#taken.wake()
    this.#onDue()
  }

  stopLeading(): void {
    if (this.#options.replicated !== true) throw new Error('the store must be replicated to lead no more, was not')
    this.#leads = false
    this.#taken.sleep()
    this.#marksBehind.clear()
    this.#taken.giveAllBack()
  }

  async joinEpoch(join: Parameters<LogQueueStore['joinEpoch']>[0]): Promise<void> {
    if (this.#leads) throw new Error(`the store must not lead to follow epoch ${join.epoch}, but does`)
    this.#requireComplete()
    await this.#epochs.join(join)
    await letGo(this.#tables, this.#writer)
  }

  openCopySource(): CopySource {
    return openCopySource(this.#tables)
  }

  async beginCopy(copy: FullCopy): Promise<CopyTarget> {
    if (this.#leads) throw new Error(`the store must not lead to become a copy of the log of epoch ${copy.epoch}, but does`)
    const onFinished = (sequence: number) => this.#uncommitted.restart(sequence)
    return QueueCopyTarget.begin({ tables: this.#tables, writer: this.#writer, epochs: this.#epochs, onFinished }, copy)
  }

  aside(): readonly AsideMessage[] {
    return listAside(this.#tables)
  }

  readAside(queueId: QueueId): OfferedMessage {
    return readOffered(this.#tables, queueId)
  }

  async takeBack(message: OfferedMessage, from: number): Promise<void> {
    await this.#lead(message.record.length + message.content.length, planTakingBack(message, from, this.#now()))
    // It may have been set aside here as well, before this copy became the leader.
    await letGo(this.#tables, this.#writer)
  }

  async note(key: string, value: string | undefined): Promise<void> {
    requireNote(key, value)
    if (value !== undefined) this.#requireRoomForNote(key)
    this.#noting++
    try {
      await this.#lead(0, (batch) =>
        batch.add({ ...batch.next(), at: this.#now(), kind: 'noted', key, ...(value !== undefined && { value }) }, undefined),
      )
    } finally {
      this.#noting--
    }
  }

  /** Those under way may all be new. A note too many would be one that no copy could read. */
  #requireRoomForNote(key: string): void {
    if (this.#tables.get('notes', Buffer.from(key)) !== undefined) return
    if (this.#tables.count('notes') + this.#noting >= MAX_NOTES)
      throw new RangeError(`there must be at most ${MAX_NOTES} notes, ${key} was one more`)
  }

  async #lead(sizeBytes: number, addTo: (batch: Batch) => void): Promise<void> {
    this.#requireLeading()
    await this.#writer.change({
      sizeBytes,
      whenFull: 'refuse',
      addTo: (batch) => {
        this.#requireLeading()
        addTo(batch)
      },
    })
  }

  notes(): Notes {
    return readNotes(this.#tables)
  }

  handled(): Handled {
    return this.#writer.position().handled
  }

  #requireComplete(): void {
    if (!this.isComplete()) throw new Error('the copy must be complete for its log to go on, was not')
  }

  quickClaimAt(): Millis {
    return this.identity().quickClaimAt ?? 0
  }

  noteQuickClaim(wall: Millis): Promise<void> {
    return this.#epochs.noteQuickClaim(wall)
  }

  readLog(fromSequence: number, limit: number): readonly StoredEntry[] {
    return readLog(this.#tables, this.#writer, fromSequence, limit)
  }

  async applyEntries(entries: readonly StoredEntry[]): Promise<void> {
    if (this.#options.replicated === true && this.#leads) throw new Error('the store must not lead to take entries of another, but does')
    this.#requireComplete()
    await applyEntries(this.#writer, entries)
    if (entries.some(({ sequence, record }) => kindOf(record, `entry ${sequence}`) === 'takenBack')) await letGo(this.#tables, this.#writer)
  }

  async scrub(signal: AbortSignal, options: ScrubOptions): Promise<ScrubResult> {
    // In half a copy contents are missing that are not lost.
    return this.isComplete() ? scrubMessages(this.#tables, signal, options) : { messages: 0, contentBytes: 0, damaged: 0 }
  }

  #follow(moves: readonly ScheduleMove[]): 'more is due' | 'as before' {
    const news = this.#taken.follow(moves)
    if (this.#synced.size === 0) return news
    const last = this.#writer.lastSequence()
    for (const listener of this.#synced) listener(last)
    return news
  }

  #now(): Millis {
    return Math.floor(this.#options.clock())
  }

  /** Waits for what was begun, then closes the tables. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close()
    await this.#tables[Symbol.asyncDispose]()
  }
}
