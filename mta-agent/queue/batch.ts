import type { Origin } from '../domain/epoch-table.ts'
import { parseQueueId, type QueueId } from '../domain/queue-id.ts'
import { addHandled, handledBy, takeHandled } from './handled.ts'
import { readSequenceKey, sequenceKey } from './keys.ts'
import { decodeLogEntry, encodeLogEntry, messagePartOf, type LogEntry } from './log-entry.ts'
import type { StoredEntry } from './log-queue.ts'
import { type EntryPlan, planEntry, type PlannedWrite, type StateView } from './plan-entry.ts'
import { plus } from './queue-totals.ts'
import { CorruptRecord } from './record.ts'
import { advance, currentOf, cutPosition, encodePosition, POSITION_KEY, type StorePosition } from './store-meta.ts'
import type { Table, Write } from './tables.ts'
import { decodeUndo, encodeUndo, planForgetting, readFrees, type Undo } from './undo.ts'

export type ScheduleMove = { readonly key: Buffer; readonly to: 'in' | 'out' }

export type BatchOptions = {
  readonly position: StorePosition
  /** The epoch that new entries are of, when it is not that of the last one. */
  readonly epoch?: number
  /** Entries can be taken back until `forget`. */
  readonly keepsUndo?: boolean
  /** A message comes back, under a name that does not say by which entry; told before that can be seen by anyone. */
  readonly onTakenBack?: (queueId: QueueId, sequence: number) => void
  /** What an entry of before frees, where that is known without its undo. */
  readonly freesOf?: (sequence: number) => readonly Buffer[] | undefined
}

/**
 * Entries that will be committed together, and all that they change. Entries see the state that those before them leave. What a batch
 * has refused (add threw) is not in it; nothing of it counts before the commit.
 */
export class Batch implements StateView {
  readonly #state: StateView
  readonly #options: BatchOptions
  /** Of the tables that are read while a batch is made. */
  readonly #overlay = new Map<Table, Map<string, Buffer | undefined>>()
  readonly #writes: Write[] = []
  readonly #moves: ScheduleMove[] = []
  readonly #entries: StoredEntry[] = []
  readonly #frees: { readonly sequence: number; readonly frees: readonly Buffer[] }[] = []
  #position: StorePosition
  #bytes = 0

  constructor(state: StateView, options: BatchOptions) {
    this.#state = state
    this.#options = options
    this.#position = options.position
    for (const table of options.keepsUndo === true ? READ_FOR_UNDO : READ) this.#overlay.set(table, new Map())
  }

  get(table: Table, key: Buffer): Buffer | undefined {
    const changed = this.#overlay.get(table)
    if (!changed || changed.size === 0) return this.#state.get(table, key)
    const name = nameOf(key)
    return changed.has(name) ? changed.get(name) : this.#state.get(table, key)
  }

  /** `record`: the entry as it came from another copy; it is kept byte for byte. */
  add(entry: LogEntry, content: Buffer | undefined, record = encodeLogEntry(entry)): void {
    const plan = planEntry(entry, { content, part: messagePartOf(entry, record) }, this)
    const origin = entry.kind === 'takenBack' ? parseQueueId(entry.queueId) : undefined
    const { totals, handled } = this.#position
    const sums = { totals: plus(totals, plan.totals), handled: addHandled(handled, handledBy(entry)) }
    const position = advance(this.#position, entry, sums, origin)
    const key = sequenceKey(entry.sequence)
    const undo = this.#options.keepsUndo === true ? this.#planUndo(plan) : undefined
    this.#position = position
    this.#entries.push({ sequence: entry.sequence, record, ...(content && { content }) })
    if (entry.kind === 'takenBack') this.#options.onTakenBack?.(entry.queueId, entry.sequence)
    this.write({ table: 'log', key, value: record })
    if (undo) {
      this.write({ table: 'undo', key, value: encodeUndo(undo) })
      this.#frees.push({ sequence: entry.sequence, frees: undo.frees })
    }
    for (const write of plan.writes) if (!undo || !isFreeing(write)) this.write(write)
    this.#move(plan)
  }

  #planUndo(plan: EntryPlan): Undo {
    return {
      totals: this.#position.totals,
      restores: plan.writes.filter((write) => !isFreeing(write)).map((write) => this.#asItIs(write)),
      frees: plan.writes.filter(isFreeing).map(({ key }) => key),
    }
  }

  #asItIs({ table, key, before }: PlannedWrite): Write {
    const value = before ? before.value : this.get(table, key)
    return value === undefined ? { table, key } : { table, key, value }
  }

  /** A change that is no entry of the log: of a copy that is being made of another queue. */
  apply(plan: EntryPlan): void {
    this.#position = { ...this.#position, totals: plus(this.#position.totals, plan.totals) }
    for (const write of plan.writes) this.write(write)
    this.#move(plan)
  }

  #move({ unscheduled, scheduled }: EntryPlan): void {
    for (const key of unscheduled) this.#moves.push({ key, to: 'out' })
    for (const key of scheduled) this.#moves.push({ key, to: 'in' })
  }

  /** The log is another's from now on, and ends here. */
  place(position: StorePosition): void {
    this.#position = position
  }

  /** Takes back all entries after `parting`, the last one first. Throws CorruptRecord where one cannot be. Alone in its batch. */
  cut(parting: number): void {
    if (this.#entries.length > 0) throw new Error(`the log must be cut in a batch of its own, was with ${this.#entries.length} entries`)
    const { sequence: last } = currentOf(this.#position)
    const origins: Origin[] = []
    for (let sequence = last; sequence > parting; sequence--) {
      const key = sequenceKey(sequence)
      const record = this.#state.get('undo', key)
      if (!record) throw new CorruptRecord(`undo ${sequence}`, 'there, as the entry is not committed', 'missing')
      const undo = decodeUndo(record, `undo ${sequence}`)
      for (const write of undo.restores.toReversed()) {
        this.write(write)
        if (write.table === 'schedule') this.#moves.push({ key: write.key, to: write.value === undefined ? 'out' : 'in' })
      }
      const entry = this.#readEntry(sequence)
      if (entry.kind === 'takenBack') origins.push(parseQueueId(entry.queueId))
      this.write({ table: 'log', key })
      this.write({ table: 'undo', key })
      this.#position = { ...this.#position, totals: undo.totals, handled: takeHandled(this.#position.handled, handledBy(entry)) }
    }
    this.#position = cutPosition(this.#position, parting, origins)
  }

  #readEntry(sequence: number): LogEntry {
    const record = this.#state.get('log', sequenceKey(sequence))
    if (!record) throw new CorruptRecord(`log ${sequence}`, 'there', 'missing')
    return decodeLogEntry(record, `log ${sequence}`)
  }

  /** The entries from `first` up to `end`, exclusive, are committed: what they finish may go. */
  forget(first: number, end: number): void {
    for (let sequence = first; sequence < end; sequence++) {
      const key = sequenceKey(sequence)
      const frees = this.#options.freesOf?.(sequence) ?? this.#readFrees(key)
      for (const write of planForgetting(key, frees)) this.write(write)
    }
  }

  #readFrees(key: Buffer): readonly Buffer[] {
    const record = this.get('undo', key)
    if (!record) throw new CorruptRecord(`undo ${readSequenceKey(key)}`, 'there until it is forgotten', 'missing')
    return readFrees(key, record)
  }

  /** Removes the entries from `first` up to `end`, exclusive. */
  trim(first: number, end: number): void {
    for (let sequence = first; sequence < end; sequence++) this.#writes.push({ table: 'log', key: sequenceKey(sequence) })
  }

  write(write: Write): void {
    this.#overlay.get(write.table)?.set(nameOf(write.key), write.value)
    this.#writes.push(write)
    this.#bytes += write.value?.length ?? 0
  }

  /** Where the next entry goes. */
  next(): { readonly epoch: number; readonly sequence: number } {
    const { epoch, sequence } = currentOf(this.#position)
    return { epoch: Math.max(epoch, this.#options.epoch ?? 0), sequence: sequence + 1 }
  }

  position(): StorePosition {
    return this.#position
  }

  /** What happens to the schedule, in order. */
  moves(): readonly ScheduleMove[] {
    return this.#moves
  }

  /** Those of this batch, as others copy them. */
  entries(): readonly StoredEntry[] {
    return this.#entries
  }

  /** What the entries of this batch free when they are committed. */
  frees(): readonly { readonly sequence: number; readonly frees: readonly Buffer[] }[] {
    return this.#frees
  }

  sizeBytes(): number {
    return this.#bytes
  }

  writes(): readonly Write[] {
    return [...this.#writes, { table: 'meta', key: POSITION_KEY, value: encodePosition(this.#position) }]
  }
}

/** What plans read, and what they do not know of the rows that they change. */
const READ: readonly Table[] = ['deliveries', 'remaining']
const READ_FOR_UNDO: readonly Table[] = [...READ, 'messages', 'notes']
const isFreeing = (write: Write): boolean => write.table === 'bodies' && write.value === undefined

const nameOf = (key: Buffer): string => key.toString('latin1')
