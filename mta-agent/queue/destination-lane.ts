import { compareDue, endOfLane, readDueAt, startOfLane } from './keys.ts'
import type { Domain } from '../domain/envelope.ts'
import { IndexedHeap, OUTSIDE, type HeapMember } from './indexed-heap.ts'
import type { Millis } from './queue-store.ts'
import type { Range } from './tables.ts'

/** What a lane reads: keys of the schedule, in their order. */
export type ScheduleReader = {
  has(key: Buffer): boolean
  keys(range: Range): readonly Buffer[]
}

/** More keys than this behind the cursor, and it starts again from the beginning. They can be that many when the clock was set back. */
const MAX_BEHIND = 10_000
const MAX_AHEAD = 32

/**
 * The deliveries of one destination, in the order they fall due, and where in it the taking stands. Taken rows stay in the schedule until
 * they are settled, at its very front, so a walk from the start would meet all of them each time. Therefore: rows up to `#after`
 * were taken, or are in `#behind`, those that were added or given back there; rows beyond were never looked at, and are taken only when
 * somebody took them by name. Only the first key is kept in memory, however long the lane is.
 */
export class DestinationLane implements HeapMember {
  readonly destination: Domain
  heapIndex = OUTSIDE
  /** Taken or not. A lane without rows is of no use any more. */
  rows = 0
  readonly #schedule: ScheduleReader
  readonly #isTaken: (key: Buffer) => boolean
  /** Made when needed: there may be as many lanes as domains. */
  #behind: IndexedHeap<BehindKey> | undefined
  #behindCount = 0
  #after: Buffer | undefined
  #first: Buffer | undefined
  /** Of the first key; Infinity without one. A number, because lanes are compared a thousand times as often as they change. */
  #dueAt: Millis = Infinity
  /** Read ahead during one round of taking. */
  #ahead: readonly Buffer[] = NONE
  #aheadSize = 1

  constructor(destination: Domain, schedule: ScheduleReader, isTaken: (key: Buffer) => boolean) {
    this.destination = destination
    this.#schedule = schedule
    this.#isTaken = isTaken
  }

  /** Key of the earliest row that is not taken. */
  first(): Buffer | undefined {
    return this.#first
  }

  /** When the earliest row that is not taken falls due. */
  dueAt(): Millis {
    return this.#dueAt
  }

  /** The first row was taken: the next one becomes first. */
  passFirst(): void {
    const passed = this.#first
    if (!passed) return
    if (this.#behind?.first()?.key === passed) this.#popBehind()
    else this.#after = passed
    this.find()
  }

  /** Ends a round: a lane at rest holds one key. */
  rest(): void {
    this.#ahead = NONE
    this.#aheadSize = 1
  }

  /** The row is in the schedule, and not taken. */
  add(key: Buffer): void {
    if (this.#after && compareDue(key, this.#after) <= 0) {
      if (this.#behindCount === MAX_BEHIND) {
        this.startAgain()
        return
      }
      this.#behind ??= new IndexedHeap<BehindKey>((a, b) => compareDue(a.key, b.key) < 0)
      this.#behind.place({ key, heapIndex: OUTSIDE })
      this.#behindCount++
    }
    if (!this.#first || compareDue(key, this.#first) < 0) this.find()
  }

  /** Walks from the beginning: also what has come and gone unnoticed counts. */
  startAgain(): void {
    this.#behind = undefined
    this.#behindCount = 0
    this.#after = undefined
    this.find()
  }

  /** Looks for the first row anew. */
  find(): void {
    const ahead = this.#firstAhead()
    const behind = this.#firstBehind()
    this.#first = ahead && behind ? (compareDue(behind, ahead) < 0 ? behind : ahead) : (behind ?? ahead)
    this.#dueAt = this.#first ? readDueAt(this.#first) : Infinity
  }

  #firstBehind(): Buffer | undefined {
    for (;;) {
      const key = this.#behind?.first()?.key
      if (!key || (!this.#isTaken(key) && this.#schedule.has(key))) return key
      this.#popBehind()
    }
  }

  #firstAhead(): Buffer | undefined {
    for (;;) {
      const found = this.#ahead.find((key) => (!this.#after || compareDue(key, this.#after) > 0) && !this.#isTaken(key))
      if (found) return found
      const limit = this.#aheadSize
      const from = this.#ahead.at(-1) ?? this.#after ?? startOfLane(this.destination)
      this.#ahead = this.#schedule.keys({ after: from, end: endOfLane(this.destination), limit })
      this.#aheadSize = Math.min(2 * limit, MAX_AHEAD)
      if (this.#ahead.length === 0) return undefined
    }
  }

  #popBehind(): void {
    const first = this.#behind?.first()
    if (!first) return
    this.#behind?.remove(first)
    this.#behindCount--
  }
}

const NONE: readonly Buffer[] = []

type BehindKey = HeapMember & { readonly key: Buffer }
