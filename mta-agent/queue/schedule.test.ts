import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Domain } from '#agent/domain/envelope.ts'
import type { QueueId } from '#agent/domain/queue-id.ts'
import { compareDue, readScheduleKey, scheduleKey } from './keys.ts'
import { Schedule } from './schedule.ts'
import type { Range } from './tables.ts'

/** A sorted list that counts what is read of it. */
class Rows {
  readonly keys: Buffer[] = []
  read = 0

  reader() {
    return {
      has: (key: Buffer) => this.keys.some((other) => other.equals(key)),
      keys: ({ after, end, limit }: Range) => {
        const found = this.keys.filter((key) => (!after || key.compare(after) > 0) && (!end || key.compare(end) < 0)).slice(0, limit)
        this.read += found.length
        return found
      },
    }
  }

  insert(key: Buffer): void {
    this.keys.push(key)
    this.keys.sort((a, b) => a.compare(b))
  }

  remove(key: Buffer): void {
    this.keys.splice(
      this.keys.findIndex((other) => other.equals(key)),
      1,
    )
  }
}

const row = (dueAt: number, nth: number, destination = 'one.example'): Buffer =>
  scheduleKey({ dueAt, queueId: `1-${nth}` as QueueId, destination: destination as Domain })

test('taking reads each row about once, however many are taken and wait to be settled', () => {
  const rows = new Rows()
  for (let nth = 1; nth <= 1000; nth++) rows.insert(row(5, nth))
  const schedule = new Schedule(rows.reader(), new Map([['one.example' as Domain, 1000]]))

  let taken = 0
  while (taken < 1000) taken += schedule.takeDue(10, 10).length
  expect(rows.read).toBeLessThan(4000)
})

test('a destination without room costs no reading', () => {
  const rows = new Rows()
  for (let nth = 1; nth <= 500; nth++) rows.insert(row(5, nth, 'slow.example'))
  rows.insert(row(9, 501, 'fast.example'))
  const lanes = new Map([['slow.example', 500] as const, ['fast.example', 1] as const]) as unknown as Map<Domain, number>
  const schedule = new Schedule(rows.reader(), lanes)
  rows.read = 0

  const room = (destination: string): number => (destination === 'slow.example' ? 0 : 1)
  expect(schedule.takeDue(10, 10, room)).toEqual([row(9, 501, 'fast.example')])
  expect(schedule.nextDueAt(room)).toBeUndefined()
  expect(schedule.nextDueAt()).toBe(5)
  expect(rows.read).toBe(0)
})

test('waking costs nothing, however many destinations have changed: they are looked into some at a time', () => {
  const keys = Array.from({ length: 2_100 }, (_, nth) => row(5, nth + 1, `d${String(nth).padStart(4, '0')}.example`))
  let read = 0
  const inLane = ({ after }: Range): readonly Buffer[] => {
    const key = keys[Number(after!.toString('latin1', 1, 5))]!
    read++
    return after!.compare(key) < 0 ? [key] : []
  }
  const schedule = new Schedule({ has: () => true, keys: inLane }, new Map())
  schedule.sleep()
  for (const key of keys) schedule.add(key)
  schedule.wake()
  const atOnce = read
  const first = schedule.takeDue(10, 5_000).length
  const next = [schedule.nextDueAt(), read < 4_100]
  const rest = schedule.takeDue(10, 5_000).length
  expect({ atOnce, first, next, rest, last: schedule.nextDueAt() }).toEqual({
    atOnce: 0,
    first: 1_000,
    next: [0, true],
    rest: 1_100,
    last: undefined,
  })
})

type Move =
  | { readonly kind: 'insert'; readonly dueAt: number; readonly lane: number }
  | { readonly kind: 'take'; readonly now: number; readonly limit: number }
  | { readonly kind: 'name' | 'release' | 'settle' | 'remove'; readonly pick: number }
  | { readonly kind: 'insertTaken'; readonly dueAt: number; readonly lane: number }
  | { readonly kind: 'sleep' }
  | { readonly kind: 'wake' }

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('insert' as const), dueAt: fc.integer({ min: 0, max: 20 }), lane: fc.nat(2) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('take' as const),
      now: fc.integer({ min: 0, max: 20 }),
      limit: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('insertTaken' as const), dueAt: fc.integer({ min: 0, max: 20 }), lane: fc.nat(2) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('sleep', 'wake') }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('name', 'release', 'settle', 'remove'), pick: fc.nat() }) },
)

type Check = { readonly was: unknown; readonly want: unknown }

/** The obvious way: look at all rows each time. */
class Model {
  readonly rows = new Rows()
  readonly taken = new Set<string>()
  readonly schedule = new Schedule(this.rows.reader(), new Map())
  #nth = 0
  #isAsleep = false

  run(step: Move): readonly Check[] {
    const check = this.move(step)
    if (this.#isAsleep) return [check]
    const first = this.free()[0]
    return [check, { was: this.schedule.nextDueAt(), want: first && readScheduleKey(first).dueAt }]
  }

  move(step: Move): Check {
    if (step.kind === 'sleep' || step.kind === 'wake') return this.turn(step.kind)
    if (step.kind === 'insert') return this.insert(row(step.dueAt, ++this.#nth, `d${step.lane}.example`))
    if (step.kind === 'insertTaken') return this.insertTaken(row(step.dueAt, ++this.#nth, `d${step.lane}.example`))
    if (this.#isAsleep && (step.kind === 'take' || step.kind === 'name')) return NOTHING
    return step.kind === 'take' ? this.take(step.now, step.limit) : this.pick(step.kind, step.pick)
  }

  free(): readonly Buffer[] {
    return this.rows.keys.filter((key) => !this.taken.has(key.toString('hex'))).toSorted(compareDue)
  }

  insert(key: Buffer): Check {
    this.rows.insert(key)
    this.schedule.add(key)
    return NOTHING
  }

  insertTaken(key: Buffer): Check {
    this.rows.insert(key)
    this.schedule.addTaken(key)
    this.taken.add(key.toString('hex'))
    return NOTHING
  }

  turn(kind: 'sleep' | 'wake'): Check {
    this.#isAsleep = kind === 'sleep'
    this.schedule[kind]()
    return NOTHING
  }

  take(now: number, limit: number): Check {
    const due = this.free().filter((key) => readScheduleKey(key).dueAt <= now)
    const want = due.slice(0, limit)
    for (const key of want) this.taken.add(key.toString('hex'))
    return { was: this.schedule.takeDue(now, limit), want }
  }

  pick(kind: 'name' | 'release' | 'settle' | 'remove', pick: number): Check {
    const wantsTaken = kind === 'release' || kind === 'settle'
    const candidates = this.rows.keys.filter((key) => this.taken.has(key.toString('hex')) === wantsTaken)
    const key = candidates[pick % candidates.length]
    if (!key) return NOTHING
    if (kind === 'name') {
      this.taken.add(key.toString('hex'))
      return { was: this.schedule.take(key), want: true }
    }
    this.taken.delete(key.toString('hex'))
    if (kind !== 'release') this.rows.remove(key)
    if (kind === 'release') this.schedule.release(key)
    else this.schedule.remove(key)
    return NOTHING
  }
}

const NOTHING: Check = { was: undefined, want: undefined }

test('whatever happens, the schedule gives what looking at all rows would give', () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), (steps) => {
      const model = new Model()
      const checks = steps.flatMap((step) => model.run(step))
      expect(checks.map(({ was }) => was)).toEqual(checks.map(({ want }) => want))
    }),
    { numRuns: 300 },
  )
})
