import { crc32 } from 'node:zlib'
import { type LogQueueStore, NotLeading } from '../queue/log-queue.ts'
import { type Millis, QueueFull } from '../queue/queue-store.ts'
import type { DeliveryLog } from './ports.ts'

/**
 * What delivery has learnt of the world, kept as notes that move with the queue: a few numbers by kind and name. Many names share one note, so
 * that a night in which everything is down costs hundreds of log entries and not tens of thousands; notes are written at their own pace, and
 * what a crash takes with it is learnt again.
 */

/** `closed`: a destination's gate; `route`: that of a source address at a host; `window`: how many connections a destination bears. */
export type LearntKind = 'closed' | 'route' | 'window'
export type Numbers = readonly number[]

/** The part that one kind sees. */
export type Memory = {
  /** As it was when delivery began here. */
  recalled(): ReadonlyMap<string, Numbers>
  /** undefined: there is nothing to know any more. */
  remember(name: string, numbers: Numbers | undefined): void
}

export const FORGETFUL: Memory = { recalled: () => new Map(), remember: () => undefined }

export type LearntOptions = {
  readonly store: Pick<LogQueueStore, 'note' | 'notes' | 'lastSequence'>
  readonly log: DeliveryLog
  /** A note could not be written for a reason that does not pass. */
  readonly onBroken: (error: unknown) => void
}

/** Notes of each kind. */
const BUCKETS = 256
/** Of one note: about a hundred names, so that a change costs little; those that changed last stay. */
const NOTE_BYTES = 4096
const EVERY: Millis = 1_000
/** One note for so many entries of the log, beside the one of each second. */
const ENTRIES_PER_NOTE = 100

export class Learnt {
  readonly #options: LearntOptions
  /** Of each note: name → numbers, in the order in which they changed. */
  readonly #notes = new Map<string, Map<string, Numbers>>()
  /** Notes that are in the queue. */
  readonly #written = new Set<string>()
  readonly #dirty = new Set<string>()
  #paidUpTo: number
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  #ended = false

  constructor(options: LearntOptions) {
    this.#options = options
    this.#paidUpTo = options.store.lastSequence()
    for (const [key, value] of options.store.notes()) this.#read(key, value)
  }

  #read(key: string, value: string): void {
    if (!KEY.test(key)) return
    this.#written.add(key)
    const entries = parseNote(value)
    // Another version wrote it. It is worth a few attempts and no more.
    if (entries === undefined) this.#options.log.warn({ key }, 'note not understood')
    else this.#notes.set(key, new Map(entries))
  }

  of(kind: LearntKind): Memory {
    const recalled = new Map([...this.#notes].flatMap(([key, numbers]) => (key.startsWith(`${kind}/`) ? [...numbers] : [])))
    return { recalled: () => recalled, remember: (name, numbers) => this.#remember(kind, name, numbers) }
  }

  #remember(kind: LearntKind, name: string, numbers: Numbers | undefined): void {
    const key = noteOf(kind, name)
    const note = this.#notes.get(key) ?? new Map<string, Numbers>()
    if (!note.delete(name) && numbers === undefined) return
    if (numbers !== undefined) note.set(name, numbers)
    this.#notes.set(key, note)
    this.#dirty.add(key)
    if (!this.#ended) this.#timer ??= setTimeout(() => this.#round(), EVERY)
  }

  #round(): void {
    this.#timer = undefined
    const last = this.#options.store.lastSequence()
    const most = Math.max(1, Math.floor((last - this.#paidUpTo) / ENTRIES_PER_NOTE))
    this.#paidUpTo = last
    this.#writing = this.#writing.then(() => this.#write(most))
  }

  async #write(most: number): Promise<void> {
    const keys = [...this.#dirty].slice(0, most)
    for (const key of keys) this.#dirty.delete(key)
    await Promise.all(keys.map((key) => this.#writeOne(key)))
    if (this.#dirty.size > 0 && !this.#ended) this.#timer ??= setTimeout(() => this.#round(), EVERY)
  }

  async #writeOne(key: string): Promise<void> {
    const value = this.#format(key)
    if (value === undefined && !this.#written.has(key)) return
    try {
      await this.#options.store.note(key, value)
      if (value === undefined) this.#written.delete(key)
      else this.#written.add(key)
    } catch (error) {
      this.#noteFailure(key, error)
    }
  }

  #noteFailure(key: string, error: unknown): void {
    // Whoever leads now knows what was written before.
    if (error instanceof NotLeading) return
    if (error instanceof QueueFull) this.#dirty.add(key)
    // No room among the notes: met again when this one changes.
    else if (error instanceof RangeError) this.#options.log.warn({ key, error: error.message }, 'note refused')
    else this.#options.onBroken(error)
  }

  /** undefined where there is nothing to note. Those that do not fit, longest unchanged first, are forgotten. */
  #format(key: string): string | undefined {
    const note = this.#notes.get(key)
    if (note === undefined || note.size === 0) {
      this.#notes.delete(key)
      return undefined
    }
    let bytes = 2
    const kept: (readonly [string, Numbers])[] = []
    for (const entry of [...note].toReversed()) {
      bytes += Buffer.byteLength(JSON.stringify(entry)) + 1
      if (bytes > NOTE_BYTES) break
      kept.push(entry)
    }
    const inOrder = kept.toReversed()
    this.#notes.set(key, new Map(inOrder))
    return JSON.stringify(inOrder)
  }

  /** Writes what is left to write, where this copy still leads. Nothing is written afterwards. */
  async end(): Promise<void> {
    if (this.#ended) return await this.#writing
    this.#ended = true
    clearTimeout(this.#timer)
    this.#writing = this.#writing.then(() => this.#write(Infinity))
    await this.#writing
  }
}

const KEY = /^(closed|route|window)\/[0-9a-f]{2}$/

const noteOf = (kind: LearntKind, name: string): string => `${kind}/${(crc32(name) % BUCKETS).toString(16).padStart(2, '0')}`

function parseNote(value: string): [string, Numbers][] | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch {
    return undefined
  }
  return Array.isArray(parsed) && parsed.every(isEntry) ? parsed : undefined
}

const isEntry = (entry: unknown): entry is [string, Numbers] =>
  Array.isArray(entry) &&
  entry.length === 2 &&
  typeof entry[0] === 'string' &&
  Array.isArray(entry[1]) &&
  entry[1].every((number) => Number.isSafeInteger(number))
