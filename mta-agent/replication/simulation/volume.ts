import { advanceTable, cutTable, type EpochTable, keptAside, type Origin, setAside } from '../follow.ts'
import type { Millis } from '../timers.ts'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

/** `previous` is not on any disk: it lets the checks see at once whether two logs that name the same entry are the same before it. */
export type Entry = {
  readonly kind: 'message' | 'mark'
  readonly epoch: number
  readonly sequence: number
  readonly origin: Origin
  /** Which of the clients' messages. */
  readonly message: number
  readonly previous: Entry | undefined
}

/** A message that was set aside (R8). `epoch`: that of the entry that was dropped. */
export type Aside = { readonly message: number; readonly origin: Origin; readonly epoch: number }

/** What a follower is to do to its log, as the primary's welcome said. */
export type Cut = { readonly parting: number; readonly epoch: number; readonly forcedEpoch: number }
export type Snapshot = { readonly log: readonly Entry[]; readonly table: EpochTable }

type Operation = { readonly apply: () => void; readonly done: () => void }

/**
 * One volume: log, epoch table, `seen` and what was set aside. Appends are lost in a power cut unless they were fsynced; everything else is
 * a transaction, all or nothing. Operations come to an end in the order they were begun.
 */
export class Volume {
  readonly copy: string
  seen: number
  complete = true
  quickClaimAt: Millis = 0
  log: Entry[] = []
  synced = 0
  table: EpochTable = []
  aside: readonly Aside[] = []
  /** Lower entries are trimmed. The checks still see them. */
  first = 1
  live = new Map<number, Entry>()
  /** Messages in the durable part of the log, finished or not. */
  durable = new Set<number>()
  #durableTable: EpochTable = []
  #operations: Operation[] = []
  #busySince: Millis | undefined
  #hangsUntil: Millis = 0
  /** True time: until then nothing of a primary's log fits on it. */
  roomAt: Millis = 0
  readonly #timeline: Timeline
  readonly #random: Random

  constructor(copy: string, seen: number, chance: { readonly timeline: Timeline; readonly random: Random }) {
    this.copy = copy
    this.seen = seen
    this.#timeline = chance.timeline
    this.#random = chance.random
  }

  /** As a snapshot of the volume would have it: the durable part, under another copy id. */
  cloneAs(copy: string): Volume {
    const clone = new Volume(copy, this.seen, { timeline: this.#timeline, random: this.#random })
    clone.complete = this.complete
    clone.quickClaimAt = this.quickClaimAt
    clone.log = this.log.slice(0, this.synced)
    clone.synced = this.synced
    clone.table = clone.#durableTable = this.#durableTable
    clone.aside = this.aside
    clone.first = this.first
    clone.#recount()
    return clone
  }

  has(message: number): boolean {
    return this.durable.has(message) || this.aside.some((one) => one.message === message)
  }

  /** As the table was when the log ended there. */
  tableAt(end: number): EpochTable {
    return cutTable(this.table, end, handedOver(this.log.slice(end)))
  }

  append(entry: Entry): void {
    this.log.push(entry)
    this.table = advanceTable(this.table, entry, entry.origin)
    if (entry.kind === 'message') this.live.set(entry.message, entry)
    else this.live.delete(entry.message)
  }

  /** fsync of all that is in the log now. */
  sync(done: () => void): void {
    const target = this.log.length
    this.#begin({ apply: () => this.#becomeDurable(target), done })
  }

  /** `done` is not called when the power goes first; whether the transaction is there then, only the disk knows. */
  transaction(apply: () => void, done: () => void): void {
    this.#begin({ apply, done })
  }

  /** Milliseconds of true time for which nothing has come back. */
  get hangsFor(): Millis {
    return this.#busySince === undefined ? 0 : this.#timeline.now - this.#busySince
  }

  hang(duration: Millis): void {
    this.#hangsUntil = this.#timeline.now + duration
  }

  get isFull(): boolean {
    return this.roomAt > this.#timeline.now
  }

  fill(duration: Millis): void {
    this.roomAt = this.#timeline.now + duration
  }

  /** To be called within a transaction. */
  cut({ parting, epoch, forcedEpoch }: Cut): void {
    const tail = this.log.slice(parting)
    const liveTail = tail.filter((entry) => entry.kind === 'message' && this.live.get(entry.message) === entry)
    const put = setAside(
      liveTail.map(({ message, origin, epoch: accepted }) => ({ message, origin, epoch: accepted })),
      forcedEpoch,
    )
    this.log.length = Math.min(this.log.length, parting)
    this.synced = Math.min(this.synced, parting)
    this.table = this.#durableTable = cutTable(this.table, parting, handedOver(tail))
    this.aside = [...this.aside.filter((one) => !put.some(({ origin }) => isSame(origin, one.origin))), ...put]
    this.seen = Math.max(this.seen, epoch)
    this.#recount()
    this.#becomeDurable(this.log.length)
  }

  /** The end of a full copy; to be called within a transaction, after the cut. */
  adopt({ log, table }: Snapshot): void {
    this.log = [...log]
    this.synced = log.length
    this.table = this.#durableTable = table
    this.first = log.length + 1
    this.complete = true
    this.#recount()
    this.#letGo()
  }

  /** The process is gone: what was written and not fsynced may be there or not; operations under way came to an end or did not. */
  crash(): void {
    const ended = this.#random.whole(0, this.#operations.length)
    for (const operation of this.#operations.slice(0, ended)) operation.apply()
    this.#operations = []
    this.#busySince = undefined
    this.#hangsUntil = 0
    if (this.#random.chance(0.3)) this.#becomeDurable(this.#random.whole(this.synced, this.log.length))
    this.log.length = this.synced
    this.table = this.#durableTable
    this.#recount()
  }

  #begin(operation: Operation): void {
    this.#operations.push(operation)
    this.#busySince ??= this.#timeline.now
    const latency = this.#random.chance(0.05) ? this.#random.between(5, 200) : this.#random.between(0.1, 5)
    this.#timeline.after(latency, () => this.#end(operation))
  }

  #end(operation: Operation): void {
    if (!this.#operations.includes(operation)) return
    if (this.#hangsUntil > this.#timeline.now) {
      this.#timeline.after(this.#hangsUntil - this.#timeline.now, () => this.#end(operation))
      return
    }
    // Those begun before it are durable too.
    while (this.#operations.includes(operation)) {
      const next = this.#operations.shift()!
      this.#busySince = this.#operations.length === 0 ? undefined : this.#timeline.now
      next.apply()
      next.done()
    }
  }

  #becomeDurable(target: number): void {
    const end = Math.min(target, this.log.length)
    for (; this.synced < end; this.synced++) {
      const entry = this.log[this.synced]!
      this.#durableTable = advanceTable(this.#durableTable, entry, entry.origin)
      if (entry.kind === 'message') this.durable.add(entry.message)
    }
    this.#letGo()
  }

  #letGo(): void {
    if (this.aside.length > 0) this.aside = keptAside(this.aside, this.#durableTable)
  }

  #recount(): void {
    this.live = new Map()
    this.durable = new Set()
    for (const [i, entry] of this.log.entries()) {
      if (entry.kind === 'mark') this.live.delete(entry.message)
      else {
        this.live.set(entry.message, entry)
        if (i < this.synced) this.durable.add(entry.message)
      }
    }
  }
}

const handedOver = (entries: readonly Entry[]): readonly Origin[] =>
  entries.filter((entry) => entry.kind === 'message' && entry.origin.epoch !== entry.epoch).map(({ origin }) => origin)

const isSame = (a: Origin, b: Origin): boolean => a.epoch === b.epoch && a.sequence === b.sequence
