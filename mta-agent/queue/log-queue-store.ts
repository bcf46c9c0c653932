import { formatQueueId, type QueueId } from '../domain/queue-id.ts'
import { Batch } from './batch.ts'
import { decodeDeliveryRow, type DeliveryRow } from './delivery-row.ts'
import { RoomMeter } from './disk-room.ts'
import { deliveriesOf, expiredMessages, firstAcceptedAt } from './expired-messages.ts'
import { GroupCommit, type CommitResult } from './group-commit.ts'
import { deliveryKey, queueIdKey, readScheduleKey, scheduleKey, sequenceKey, type DeliveryName } from './keys.ts'
import type { LogQueueStore, StoredEntry, StoreOptions } from './log-queue.ts'
import { decodeLogEntry, messageOf, readEntryHead, type LogEntry, type Mark } from './log-entry.ts'
import { DEFAULT_LOG_KEEPING, planTrim } from './log-trimming.ts'
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
import { CorruptRecord } from './record.ts'
import { Schedule } from './schedule.ts'
import { currentOf, decodePosition, POSITION_KEY, type StoreIdentity, type StorePosition } from './store-meta.ts'
import { NoSpace, type Range, type Tables } from './tables.ts'
import { checkContent, openVerified, scrubMessages, type OpenedStore, type ScrubOptions, type ScrubResult } from './verify-store.ts'

/**
 * The queue over tables: port `QueueStore`, and the log that standbys will follow. What must never happen: a promise resolves before its
 * change is durable; a change is in the tables and not in the log, or the other way round; a commit that failed is taken for done.
 */

const READ_LOG_BYTES = 8 * 2 ** 20

type Change = {
  readonly sizeBytes: number
  /** Marks wait until the disk has room; nothing else can. */
  readonly whenFull: 'wait' | 'refuse'
  /** Throws where it does not fit; the others of the batch are not concerned. */
  readonly addTo: (batch: Batch) => void
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

type Taken = { readonly key: Buffer; settling: boolean }

/** Takes ownership of the tables. Throws ForeignVolume and CorruptRecord; the tables are then still the caller's. */
export async function openQueueStore(tables: Tables, options: StoreOptions): Promise<LogQueueStore> {
  return new TableQueueStore(tables, options, await openVerified(tables, { shard: options.shard, volume: options.volume ?? '' }))
}

class TableQueueStore implements LogQueueStore {
  readonly #tables: Tables
  readonly #options: StoreOptions
  readonly #identity: StoreIdentity
  readonly #schedule: Schedule
  readonly #room: RoomMeter
  readonly #commits = new GroupCommit<Change>((changes) => this.#commit(changes))
  /** By queue id and destination: what was given out and is not settled. */
  readonly #taken = new Map<string, Taken>()
  #position: StorePosition
  #firstSequence: number
  #onDue: () => void = () => {}

  constructor(tables: Tables, options: StoreOptions, opened: OpenedStore) {
    this.#tables = tables
    this.#options = options
    this.#identity = opened.identity
    this.#position = opened.position
    this.#firstSequence = opened.firstSequence
    const reader = {
      has: (key: Buffer) => tables.get('schedule', key) !== undefined,
      keys: (range: Range) => tables.keys('schedule', range),
    }
    this.#schedule = new Schedule(reader, opened.lanes)
    this.#room = new RoomMeter(options.measureSpace, options.reserveBytes)
  }

  async append(message: NewMessage): Promise<QueueId> {
    const described = describeMessage(message)
    if (this.room(described.sizeBytes) === 'full') throw new QueueFull(`no room for ${described.sizeBytes} bytes`)
    let queueId: QueueId | undefined
    await this.#change({
      sizeBytes: described.sizeBytes,
      whenFull: 'refuse',
      addTo: (batch) => {
        const entry = { ...batch.next(), at: this.#now(), kind: 'stored', message: described } as const
        batch.add(entry, message.content)
        queueId = formatQueueId(entry)
      },
    })
    return queueId!
  }

  takeDue(now: Millis, limit: number, room?: DestinationRoom): readonly Delivery[] {
    // Whoever delivered now could not write it down, and would deliver again after a crash.
    if (this.#commits.isStuck()) return []
    return this.#orBroken(() =>
      this.#schedule.takeDue(now, limit, room).flatMap((key) => {
        const slot = readScheduleKey(key)
        if (this.#taken.has(nameOf(slot))) {
          // The next row of a delivery whose settling is on the disk, of which the news has yet to come: given now, it would be given twice.
          this.#schedule.release(key)
          return []
        }
        const row = this.#readRow(slot)
        if (row.dueAt !== slot.dueAt) throw new CorruptRecord(`schedule ${nameOf(slot)}`, `due at ${row.dueAt}`, `due at ${slot.dueAt}`)
        return this.#give(slot, row, key)
      }),
    )
  }

  nextDueAt(room?: DestinationRoom): Millis | undefined {
    return this.#schedule.nextDueAt(room)
  }

  takeExpired(acceptedBefore: Millis, limit: number): readonly Delivery[] {
    return this.#commits.isStuck() ? [] : this.#orBroken(() => this.#takeExpired(acceptedBefore, limit))
  }

  #takeExpired(acceptedBefore: Millis, limit: number): readonly Delivery[] {
    const taken: Delivery[] = []
    for (const queueId of expiredMessages(this.#tables, acceptedBefore)) {
      for (const name of deliveriesOf(this.#tables, queueId)) {
        if (taken.length === limit) return taken
        // Also while it is being settled: the row may be of after that already.
        if (this.#taken.has(nameOf(name))) continue
        const row = this.#readRow(name)
        const key = scheduleKey({ ...name, dueAt: row.dueAt })
        if (this.#schedule.take(key)) taken.push(this.#give(name, row, key))
      }
    }
    return taken
  }

  /** All these rows were checked when the store was opened: one that is damaged now means that none can be relied on. */
  #orBroken<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (error instanceof CorruptRecord) this.#broken(error, [])
      throw error
    }
  }

  #readRow(name: DeliveryName): DeliveryRow {
    const where = `deliveries ${nameOf(name)}`
    const record = this.#tables.get('deliveries', deliveryKey(name))
    if (!record) throw new CorruptRecord(where, 'there, as it is scheduled', 'missing')
    return decodeDeliveryRow(record, where)
  }

  #give({ queueId, destination }: DeliveryName, row: DeliveryRow, key: Buffer): Delivery {
    this.#taken.set(nameOf({ queueId, destination }), { key, settling: false })
    return { queueId, destination, ...row }
  }

  onDue(listener: () => void): void {
    this.#onDue = listener
  }

  release(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const { key } = this.#requireTaken(delivery)
      this.#taken.delete(nameOf(delivery))
      this.#schedule.release(key)
    }
  }

  async settle(result: DeliveryResult, report?: NewMessage): Promise<void> {
    const taken = this.#requireTaken(result)
    const described = report && describeMessage(report)
    const { queueId, destination, at, outcomes, nextAttemptAt } = result
    const mark: Mark = { queueId, destination, at, outcomes, ...(nextAttemptAt !== undefined && { nextAttemptAt }) }
    taken.settling = true
    try {
      await this.#change({
        sizeBytes: described?.sizeBytes ?? 0,
        whenFull: 'wait',
        addTo: (batch) => {
          const entry: LogEntry = { ...batch.next(), at: this.#now(), kind: 'settled', mark, ...(described && { report: described }) }
          batch.add(entry, report?.content)
        },
        done: () => {
          this.#taken.delete(nameOf(result))
          // Some recipients had no outcome, and the row stayed where it was.
          if (this.#schedule.isTaken(taken.key)) this.#schedule.release(taken.key)
        },
      })
    } finally {
      taken.settling = false
    }
  }

  stopWaiting(): void {
    this.#commits.stopWaiting()
  }

  #requireTaken(delivery: DeliveryName): Taken {
    const taken = this.#taken.get(nameOf(delivery))
    if (!taken || taken.settling) {
      throw new RangeError(`${nameOf(delivery)}: must be taken and unsettled, was ${taken ? 'being settled' : 'not taken'}`)
    }
    return taken
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
    return { ...this.#position.totals, ...(oldestAcceptedAt !== undefined && { oldestAcceptedAt }) }
  }

  room(sizeBytes: number): 'room' | 'full' {
    return this.#commits.isStuck() ? 'full' : this.#room.judge(sizeBytes)
  }

  identity(): StoreIdentity {
    return this.#identity
  }

  lastSequence(): number {
    return currentOf(this.#position).sequence
  }

  firstSequence(): number {
    return this.#firstSequence
  }

  epochs(): StorePosition['epochs'] {
    return this.#position.epochs
  }

  readLog(fromSequence: number, limit: number): readonly StoredEntry[] {
    if (fromSequence < this.#firstSequence)
      throw new RangeError(`the log must be read from ${this.#firstSequence} on, was from ${fromSequence}`)
    const end = Math.min(fromSequence + limit, this.lastSequence() + 1)
    const entries: StoredEntry[] = []
    let bytes = 0
    for (let sequence = fromSequence; sequence < end && bytes < READ_LOG_BYTES; sequence++) {
      const record = this.#readEntry(sequence)
      const entry = decodeLogEntry(record, `log ${sequence}`)
      const content = messageOf(entry) && this.#tables.get('bodies', queueIdKey(formatQueueId(entry)))
      entries.push({ sequence, record, ...(content && { content }) })
      bytes += record.length + (content?.length ?? 0)
    }
    return entries
  }

  #readEntry(sequence: number): Buffer {
    const record = this.#tables.get('log', sequenceKey(sequence))
    if (!record) throw new CorruptRecord(`log ${sequence}`, 'there', 'missing')
    return record
  }

  async applyEntries(entries: readonly StoredEntry[]): Promise<void> {
    const applied = await Promise.allSettled(entries.map((entry) => this.#apply(entry)))
    const failed = applied.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  async #apply({ sequence, record, content }: StoredEntry): Promise<void> {
    const where = `entry ${sequence}`
    const entry = decodeLogEntry(record, where)
    const message = messageOf(entry)
    if (message && content) checkContent(content, message, `${where}, its content`)
    if (!message && content) throw new RangeError(`${where}: content must come with a message, was without`)
    await this.#change({
      sizeBytes: record.length + (content?.length ?? 0),
      whenFull: 'refuse',
      addTo: (batch) => batch.add(entry, content, record),
    })
  }

  scrub(signal: AbortSignal, options: ScrubOptions): Promise<ScrubResult> {
    return scrubMessages(this.#tables, signal, options)
  }

  async #change(change: Pick<Change, 'sizeBytes' | 'whenFull' | 'addTo'> & { readonly done?: () => void }): Promise<void> {
    const { sizeBytes } = change
    this.#room.promised(sizeBytes)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#commits.push({
      sizeBytes,
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

  async #commit(changes: readonly Change[]): Promise<CommitResult<Change>> {
    const batch = new Batch(this.#tables, this.#position)
    const added = changes.filter((change) => succeeds(() => change.addTo(batch), change.failed))
    if (added.length === 0) return { again: [] }
    let firstSequence = this.#firstSequence
    try {
      firstSequence = this.#trim(batch, added.length)
      await this.#tables.commit(batch.writes())
    } catch (error) {
      return this.#commitFailed(error, batch, added)
    }
    this.#position = batch.position()
    this.#firstSequence = firstSequence
    for (const { key, to } of batch.moves()) {
      if (to === 'in') this.#schedule.add(key)
      else this.#schedule.remove(key)
    }
    for (const change of added) change.done()
    const woken = batch.moves().some(({ to }) => to === 'in') || this.#commits.isStuck()
    return { again: [], ...(woken && { wake: this.#onDue }) }
  }

  /** Twice what is added, so that the log shrinks to its bound also after a time in which it was longer. */
  #trim(batch: Batch, added: number): number {
    const firstSequence = planTrim({
      keeping: this.#options.logKeeping ?? DEFAULT_LOG_KEEPING,
      first: this.#firstSequence,
      last: this.lastSequence(),
      now: this.#now(),
      writtenAt: (sequence) => readEntryHead(this.#readEntry(sequence), `log ${sequence}`).at,
      atMost: 2 * added,
    })
    batch.trim(this.#firstSequence, firstSequence)
    return firstSequence
  }

  /** A full disk is a state that passes; anything else ends the store. In both cases nothing of the batch may be there. */
  #commitFailed(error: unknown, batch: Batch, added: readonly Change[]): CommitResult<Change> {
    if (!this.#isUnchanged() || !this.#isDiskFull(error, batch)) return this.#broken(error, added)
    for (const change of added) {
      if (change.whenFull === 'refuse') change.failed(new QueueFull('the disk became full', { cause: error }))
    }
    return { again: added.filter((change) => change.whenFull === 'wait') }
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

  #broken(error: unknown, added: readonly Change[]): CommitResult<Change> {
    const broken = new Error(`the queue is broken: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    for (const change of added) change.failed(broken)
    this.#commits.stop(broken)
    this.#options.onBroken(broken)
    return { again: [] }
  }

  #now(): Millis {
    return Math.floor(this.#options.clock())
  }

  /** Waits for what was begun, then closes the tables. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#commits.close()
    await this.#tables[Symbol.asyncDispose]()
  }
}

const NEARLY_NOTHING_BYTES = 2 ** 20

function succeeds(action: () => void, failed: (error: unknown) => void): boolean {
  try {
    action()
    return true
  } catch (error) {
    failed(error)
    return false
  }
}

const nameOf = ({ queueId, destination }: DeliveryName): string => `${queueId} to ${destination}`
