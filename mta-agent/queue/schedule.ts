import type { Domain } from '../domain/envelope.ts'
import { DestinationLane, type ScheduleReader } from './destination-lane.ts'
import { IndexedHeap } from './indexed-heap.ts'
import { compareDue, readDestination } from './keys.ts'
import type { DestinationRoom, Millis } from './queue-store.ts'

/**
 * Which delivery comes next: one lane for each destination, and a heap of lanes by their first row. A destination without room costs one
 * question, however much mail waits behind it. Memory grows with destinations, and with what is taken, not with messages.
 */
export class Schedule {
  readonly #reader: ScheduleReader
  readonly #lanes = new Map<Domain, DestinationLane>()
  readonly #heap = new IndexedHeap<DestinationLane>(isBefore)
  readonly #taken = new Set<string>()
  /** Lanes that have changed while nothing was taken, of which it was not looked what comes first. None of them is in the heap. */
  readonly #unseen = new Set<DestinationLane>()
  #isAsleep = false
  readonly #isTaken = (key: Buffer): boolean => this.#taken.has(nameOf(key))

  /** `rows`: how many rows each destination has in the schedule. */
  constructor(reader: ScheduleReader, rows: ReadonlyMap<Domain, number>) {
    this.#reader = reader
    for (const [destination, count] of rows) {
      const lane = this.#lane(destination)
      lane.rows = count
      lane.find()
      lane.rest()
      this.#place(lane)
    }
  }

  /** Takes rows due at `now`, earliest first of the lanes that it has looked into. */
  takeDue(now: Millis, limit: number, room: DestinationRoom = () => Infinity): readonly Buffer[] {
    this.#requireAwake()
    this.#lookAtSome()
    const keys: Buffer[] = []
    const left = new Map<DestinationLane, number>()
    try {
      for (let lane = this.#heap.first(); lane && keys.length < limit; lane = this.#heap.first()) {
        const key = lane.first()!
        if (lane.dueAt() > now) break
        const free = left.get(lane) ?? room(lane.destination)
        left.set(lane, free - 1)
        if (free > 0) {
          keys.push(key)
          this.#taken.add(nameOf(key))
          lane.passFirst()
          this.#place(lane)
        } else this.#heap.remove(lane)
      }
    } finally {
      for (const lane of left.keys()) {
        lane.rest()
        this.#place(lane)
      }
    }
    return keys
  }

  /** Long ago, where there is more to look into. */
  nextDueAt(room: DestinationRoom = () => Infinity): Millis | undefined {
    this.#requireAwake()
    this.#lookAtSome()
    if (this.#unseen.size > 0) return 0
    const first = this.#heap.first()
    if (!first || room(first.destination) > 0) return first?.dueAt()
    // Looking at all of them is quicker than taking those without room out of the heap and putting them back.
    let next = Infinity
    for (const lane of this.#heap.all()) if (lane.dueAt() < next && room(lane.destination) > 0) next = lane.dueAt()
    return next === Infinity ? undefined : next
  }

  /** Takes this row, due or not; false when it is taken already. */
  take(key: Buffer): boolean {
    this.#requireAwake()
    if (this.isTaken(key)) return false
    this.#taken.add(nameOf(key))
    this.#refresh(this.#lane(readDestination(key)), key)
    return true
  }

  isTaken(key: Buffer): boolean {
    return this.#isTaken(key)
  }

  /**
   * The row is new in the schedule. A commit can be read a moment before its end is known here, so the row may have been found and taken
   * already; then it stays taken. To give it a second time would be to deliver it twice.
   */
  add(key: Buffer): void {
    this.#lane(readDestination(key)).rows++
    if (!this.isTaken(key)) this.release(key)
  }

  /** The row is new in the schedule, and is taken until it is released. */
  addTaken(key: Buffer): void {
    this.#lane(readDestination(key)).rows++
    this.#taken.add(nameOf(key))
  }

  /** The row may be taken again. */
  release(key: Buffer): void {
    this.#taken.delete(nameOf(key))
    const lane = this.#lane(readDestination(key))
    if (this.#isForLater(lane)) return
    lane.add(key)
    lane.rest()
    this.#place(lane)
  }

  /** The row has left the schedule. */
  remove(key: Buffer): void {
    this.#taken.delete(nameOf(key))
    const lane = this.#lane(readDestination(key))
    lane.rows--
    if (lane.rows > 0) {
      this.#refresh(lane, key)
      return
    }
    this.#heap.remove(lane)
    this.#lanes.delete(lane.destination)
    this.#unseen.delete(lane)
  }

  /** Nothing is taken until `wake`: rows come and go without being looked for. */
  sleep(): void {
    this.#isAsleep = true
  }

  /** Costs nothing at once: whoever takes looks into some of the lanes that have changed each time, for there may be as many as domains. */
  wake(): void {
    this.#isAsleep = false
  }

  #requireAwake(): void {
    if (this.#isAsleep) throw new Error('the schedule must be awake to be taken from, was asleep')
  }

  /** What comes first in it is looked for when somebody takes. */
  #isForLater(lane: DestinationLane): boolean {
    if (this.#isAsleep && !this.#unseen.has(lane)) {
      this.#heap.remove(lane)
      this.#unseen.add(lane)
    }
    return this.#unseen.has(lane)
  }

  #lookAtSome(): void {
    let looks = 0
    for (const lane of this.#unseen) {
      if (looks++ === LOOKS_AT_ONCE) return
      this.#unseen.delete(lane)
      lane.startAgain()
      lane.rest()
      this.#place(lane)
    }
  }

  #refresh(lane: DestinationLane, changed: Buffer): void {
    if (this.#isForLater(lane) || !lane.first()?.equals(changed)) return
    lane.find()
    lane.rest()
    this.#place(lane)
  }

  #place(lane: DestinationLane): void {
    if (lane.first()) this.#heap.place(lane)
    else this.#heap.remove(lane)
  }

  #lane(destination: Domain): DestinationLane {
    const known = this.#lanes.get(destination)
    if (known) return known
    const lane = new DestinationLane(destination, this.#reader, this.#isTaken)
    this.#lanes.set(destination, lane)
    return lane
  }
}

/** Some hundredths of a second: whoever is promoted must not hang over it. */
const LOOKS_AT_ONCE = 1_000

const isBefore = (a: DestinationLane, b: DestinationLane): boolean =>
  a.dueAt() === b.dueAt() ? compareDue(a.first()!, b.first()!) < 0 : a.dueAt() < b.dueAt()

const nameOf = (key: Buffer): string => key.toString('latin1')
