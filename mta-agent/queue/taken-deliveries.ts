import type { Domain } from '../domain/envelope.ts'
import type { ScheduleMove } from './batch.ts'
import { decodeDeliveryRow, type DeliveryRow } from './delivery-row.ts'
import { deliveriesOf, expiredMessages } from './expired-messages.ts'
import { deliveryKey, readScheduledId, readScheduleKey, scheduleKey, type DeliveryName } from './keys.ts'
import type { Delivery, DestinationRoom, Millis } from './queue-store.ts'
import { CorruptRecord } from './record.ts'
import { Schedule } from './schedule.ts'
import type { Range, TablesView } from './tables.ts'
import type { Uncommitted } from './uncommitted.ts'

/**
 * What was given out to be delivered and is not settled; memory only. What must never happen: a delivery is given out twice, or before its
 * message is committed.
 */

export type Taken = { readonly key: Buffer; settling: boolean }

export class TakenDeliveries {
  readonly #tables: TablesView
  readonly #schedule: Schedule
  readonly #uncommitted: Uncommitted
  /** By queue id and destination. */
  readonly #taken = new Map<string, Taken>()
  #asleep = false

  /** `lanes`: how many deliveries each destination has. */
  constructor(tables: TablesView, lanes: ReadonlyMap<Domain, number>, uncommitted: Uncommitted) {
    this.#tables = tables
    this.#uncommitted = uncommitted
    const reader = {
      has: (key: Buffer) => tables.get('schedule', key) !== undefined,
      keys: (range: Range) => tables.keys('schedule', range),
    }
    this.#schedule = new Schedule(reader, lanes)
  }

  takeDue(now: Millis, limit: number, room?: DestinationRoom): readonly Delivery[] {
    return this.#schedule.takeDue(now, limit, room).flatMap((key) => {
      const slot = readScheduleKey(key)
      if (this.#taken.has(nameOf(slot))) {
        // The next row of a delivery whose settling is on the disk, of which the news has yet to come: given now, it would be given twice.
        this.#schedule.release(key)
        return []
      }
      if (!this.#uncommitted.covers(slot.queueId)) {
        this.#uncommitted.hold(key, slot.queueId)
        return []
      }
      const row = this.#readRow(slot)
      if (row.dueAt !== slot.dueAt) throw new CorruptRecord(`schedule ${nameOf(slot)}`, `due at ${row.dueAt}`, `due at ${slot.dueAt}`)
      return this.#give(slot, row, key)
    })
  }

  nextDueAt(room?: DestinationRoom): Millis | undefined {
    return this.#asleep ? undefined : this.#schedule.nextDueAt(room)
  }

  /** Nothing is given out until `wake`; what follows costs next to nothing meanwhile. */
  sleep(): void {
    this.#asleep = true
    this.#schedule.sleep()
  }

  wake(): void {
    this.#asleep = false
    this.#schedule.wake()
  }

  takeExpired(acceptedBefore: Millis, limit: number): readonly Delivery[] {
    const taken: Delivery[] = []
    for (const queueId of expiredMessages(this.#tables, acceptedBefore)) {
      if (!this.#uncommitted.covers(queueId)) continue
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

  /** Throws RangeError unless it is taken and nobody settles it. */
  require(delivery: DeliveryName): Taken {
    const taken = this.#taken.get(nameOf(delivery))
    if (!taken || taken.settling) {
      throw new RangeError(`${nameOf(delivery)}: must be taken and unsettled, was ${taken ? 'being settled' : 'not taken'}`)
    }
    return taken
  }

  /** Its settling is durable. */
  settled(delivery: DeliveryName): void {
    const name = nameOf(delivery)
    const taken = this.#taken.get(name)
    this.#taken.delete(name)
    // Some recipients had no outcome, and the row stayed where it was.
    if (taken && this.#schedule.isTaken(taken.key)) this.#schedule.release(taken.key)
  }

  /** Due as before. Throws RangeError for what is not taken, or being settled. */
  giveBack(deliveries: readonly DeliveryName[]): void {
    for (const delivery of deliveries) {
      const { key } = this.require(delivery)
      this.#taken.delete(nameOf(delivery))
      this.#schedule.release(key)
    }
  }

  /** All but what is being settled, which knows by itself what becomes of it. */
  giveAllBack(): void {
    for (const key of this.#uncommitted.clear()) this.#schedule.release(key)
    for (const [name, { key, settling }] of this.#taken) {
      if (settling) continue
      this.#taken.delete(name)
      this.#schedule.release(key)
    }
  }

  follow(moves: readonly ScheduleMove[]): 'more is due' | 'as before' {
    let news: 'more is due' | 'as before' = 'as before'
    for (const { key, to } of moves) {
      if (to === 'out') this.#schedule.remove(key)
      else if (this.#add(key) === 'given') news = 'more is due'
    }
    return news
  }

  /** What is not committed yet, as nearly everything that has just been stored, is not looked for in its lane before it may be given. */
  #add(key: Buffer): 'given' | 'held' {
    const queueId = readScheduledId(key)
    if (this.#asleep || this.#uncommitted.covers(queueId)) {
      this.#schedule.add(key)
      return 'given'
    }
    this.#schedule.addTaken(key)
    this.#uncommitted.hold(key, queueId)
    return 'held'
  }

  /** Messages up to here are committed. */
  raise(committed: number): 'more is due' | 'as before' {
    const due = this.#uncommitted.raise(committed)
    for (const key of due) this.#schedule.release(key)
    return due.length > 0 ? 'more is due' : 'as before'
  }
}

const nameOf = ({ queueId, destination }: DeliveryName): string => `${queueId} to ${destination}`
