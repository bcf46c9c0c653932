import { afterEach, expect, test, vi } from 'vitest'
import { NotLeading } from '#agent/queue/log-queue.ts'
import { QueueFull } from '#agent/queue/queue-store.ts'
import { NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { Gates } from './gates.ts'
import { Learnt, type LearntOptions, type Numbers } from './learnt.ts'

afterEach(() => void vi.useRealTimers())

const MINUTE = 60_000
const coolDown = () => ({ first: MINUTE, last: 30 * MINUTE })

type Store = LearntOptions['store']
const warned: string[] = []
const open = (store: Store) =>
  new Learnt({
    store,
    log: { info: () => undefined, warn: (facts, text) => warned.push(`${text} ${JSON.stringify(facts)}`), error: () => undefined },
    onBroken: (error) => {
      throw error
    },
  })

/** A store in memory, whose log others fill as well. */
function storeOf(refuse: () => Error | undefined = () => undefined) {
  const notes = new Map<string, string>()
  const written: string[] = []
  let others = 0
  const store: Store = {
    note: (key, value) => {
      const error = refuse()
      if (error !== undefined) return Promise.reject(error)
      written.push(key)
      if (value === undefined) notes.delete(key)
      else notes.set(key, value)
      return Promise.resolve()
    },
    notes: () => new Map(notes),
    lastSequence: () => others + written.length,
  }
  return { store, notes, written, work: (entries: number) => void (others += entries) }
}

const named = (count: number) => Array.from({ length: count }, (_, at) => `destination-${at}.example`)

test('ten thousand destinations that are down are known to the next who delivers, from a few hundred notes; those that work again are not', async () => {
  using directory = temporaryDirectory()
  await using store = await openQueue(directory.path)
  const first = open(store)
  const gates = new Gates(coolDown, { memory: first.of('closed'), now: NOON })
  const names = named(10_000)
  for (const name of names) for (let failure = 0; failure < 3; failure++) gates.step(name, { kind: 'failed', at: NOON })
  await first.end()
  const entries = store.lastSequence()
  expect([entries, store.notes().size]).toEqual([256, 256])

  const second = open(store)
  const heirs = new Gates(coolDown, { memory: second.of('closed'), now: NOON + 1_000 })
  expect(names.filter((name) => heirs.admits(name, NOON + MINUTE - 1, 20) !== 0)).toEqual([])
  expect(names.filter((name) => heirs.admits(name, NOON + MINUTE, 20) !== 1)).toEqual([])
  for (const name of names) {
    heirs.step(name, { kind: 'dialled', at: NOON + MINUTE })
    heirs.step(name, { kind: 'answered' })
  }
  await second.end()
  expect(store.notes().size).toBe(0)
})

test('under load notes are at most two of a hundred entries, and what is at rest writes nothing', async () => {
  vi.useFakeTimers()
  const { store, written, work } = storeOf()
  const learnt = open(store)
  const memory = learnt.of('closed')
  const names = named(10_000)
  for (let second = 0; second < 30; second++) {
    for (const name of names.slice(second * 333, (second + 1) * 333)) memory.remember(name, [NOON + second, MINUTE])
    work(1_000)
    await vi.advanceTimersByTimeAsync(1_000)
  }
  expect(written.length).toBeGreaterThan(200)
  expect(written.length).toBeLessThan(0.02 * store.lastSequence())
  await vi.advanceTimersByTimeAsync(300_000)
  const settled = written.length
  await vi.advanceTimersByTimeAsync(3_600_000)
  expect(written.length).toBe(settled)
})

test('what changes again before it is written is one note, and what is gone again is none', async () => {
  vi.useFakeTimers()
  const { store, notes, written } = storeOf()
  const memory = open(store).of('window')
  memory.remember('a.example', [8])
  memory.remember('a.example', [4])
  memory.remember('b.example', [2])
  memory.remember('b.example', undefined)
  await vi.advanceTimersByTimeAsync(10_000)
  expect([written.length, [...notes.values()]]).toEqual([1, ['[["a.example",[4]]]']])
})

test('a note has room for the hundred names that changed last', async () => {
  const { store, notes } = storeOf()
  const names = named(100_000)
  const kept = new Map<string, Numbers>()
  const writer = open(store)
  const all = writer.of('closed')
  for (const [at, name] of names.entries()) all.remember(name, [NOON + at, MINUTE])
  await writer.end()
  for (const value of notes.values()) {
    expect(Buffer.byteLength(value)).toBeLessThanOrEqual(4096)
    for (const [name, numbers] of JSON.parse(value) as [string, Numbers][]) kept.set(name, numbers)
  }
  expect(kept.size).toBeGreaterThan(15_000)
  expect(names.slice(-10_000).filter((name) => !kept.has(name))).toEqual([])
})

test('a full disk is waited for; one who leads no more writes nothing', async () => {
  vi.useFakeTimers()
  let error: Error | undefined = new QueueFull('full')
  const { store, written } = storeOf(() => error)
  const memory = open(store).of('closed')
  memory.remember('a.example', [NOON, MINUTE])
  await vi.advanceTimersByTimeAsync(5_000)
  expect(written).toEqual([])
  error = undefined
  await vi.advanceTimersByTimeAsync(1_000)
  expect(written.length).toBe(1)
  error = new NotLeading('no')
  memory.remember('b.example', [NOON, MINUTE])
  await vi.advanceTimersByTimeAsync(1_000)
  error = undefined
  await vi.advanceTimersByTimeAsync(60_000)
  expect(written.length).toBe(1)
})

test('a note of another version is passed over, and said', () => {
  const { store, notes } = storeOf()
  notes.set('closed/00', '{"later":true}')
  notes.set('warm-up/00', 'of somebody else')
  expect([...open(store).of('closed').recalled()]).toEqual([])
  expect(warned.splice(0)).toEqual(['note not understood {"key":"closed/00"}'])
})

test('a gate of long ago is forgotten when delivery begins', async () => {
  const { store, notes } = storeOf()
  const first = open(store)
  first.of('route').remember('127.0.0.5 mx.example', [NOON, MINUTE])
  await first.end()
  const later = open(store)
  const gates = new Gates(coolDown, { memory: later.of('route'), now: NOON + 7_200_000 })
  await later.end()
  expect([gates.admits('127.0.0.5 mx.example', NOON + 7_200_000, 20), notes.size]).toEqual([20, 0])
})
