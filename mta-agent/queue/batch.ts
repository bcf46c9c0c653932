import { sequenceKey } from './keys.ts'
import { encodeLogEntry, type LogEntry } from './log-entry.ts'
import { planEntry, type StateView } from './plan-entry.ts'
import { plus } from './queue-totals.ts'
import { advance, currentOf, encodePosition, POSITION_KEY, type StorePosition } from './store-meta.ts'
import type { Table, Write } from './tables.ts'

export type ScheduleMove = { readonly key: Buffer; readonly to: 'in' | 'out' }

/**
 * Entries that will be committed together, and all that they change. Entries see the state that those before them leave. What a batch
 * has refused (add threw) is not in it; nothing of it counts before the commit.
 */
export class Batch implements StateView {
  readonly #state: StateView
  readonly #overlay = new Map<string, Buffer | undefined>()
  readonly #writes: Write[] = []
  readonly #moves: ScheduleMove[] = []
  #position: StorePosition
  #bytes = 0

  constructor(state: StateView, position: StorePosition) {
    this.#state = state
    this.#position = position
  }

  get(table: Table, key: Buffer): Buffer | undefined {
    const name = nameOf(table, key)
    return this.#overlay.has(name) ? this.#overlay.get(name) : this.#state.get(table, key)
  }

  /** `record`: the entry as it came from another copy; it is kept byte for byte. */
  add(entry: LogEntry, content: Buffer | undefined, record = encodeLogEntry(entry)): void {
    const plan = planEntry(entry, content, this)
    this.#position = advance(this.#position, entry, plus(this.#position.totals, plan.totals))
    this.#write({ table: 'log', key: sequenceKey(entry.sequence), value: record })
    for (const write of plan.writes) this.#write(write)
    for (const key of plan.unscheduled) this.#moves.push({ key, to: 'out' })
    for (const key of plan.scheduled) this.#moves.push({ key, to: 'in' })
  }

  /** Removes the entries from `first` up to `end`, exclusive. */
  trim(first: number, end: number): void {
    for (let sequence = first; sequence < end; sequence++) this.#writes.push({ table: 'log', key: sequenceKey(sequence) })
  }

  #write(write: Write): void {
    // Only these two are read while a batch is made; the rest would keep every body twice in a map.
    if (write.table === 'deliveries' || write.table === 'remaining') this.#overlay.set(nameOf(write.table, write.key), write.value)
    this.#writes.push(write)
    this.#bytes += write.value?.length ?? 0
  }

  /** Where the next entry goes. */
  next(): { readonly epoch: number; readonly sequence: number } {
    const { epoch, sequence } = currentOf(this.#position)
    return { epoch, sequence: sequence + 1 }
  }

  position(): StorePosition {
    return this.#position
  }

  /** What happens to the schedule, in order. */
  moves(): readonly ScheduleMove[] {
    return this.#moves
  }

  sizeBytes(): number {
    return this.#bytes
  }

  writes(): readonly Write[] {
    return [...this.#writes, { table: 'meta', key: POSITION_KEY, value: encodePosition(this.#position) }]
  }
}

const nameOf = (table: Table, key: Buffer): string => `${table} ${key.toString('latin1')}`
