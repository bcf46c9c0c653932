import type { Millis } from '../timers.ts'

/**
 * The few numbers that two threads read without asking each other. The coordinator writes what may be done, and until when; the main thread
 * writes its signs of life. A check costs two loads and a clock, so it can stand at every effect (R1).
 *
 * Each number is written and read whole: as the 64 bits of a double by Atomics, which know integers only. Two numbers are never of one moment;
 * nothing that is decided here needs that.
 */

const SLOTS = ['actsUntil', 'startsUntil', 'rightUntil', 'attachFrom', 'movedAt', 'syncingSince'] as const
type Slot = (typeof SLOTS)[number]

/** The main thread's side. */
export type CellOfMain = {
  /** R1: a transaction that runs may go on, addresses may be held. Ask before each command that would complete one. */
  mayAct(at: Millis): boolean
  /** R1: a transaction may begin. */
  mayStart(at: Millis): boolean
  /** When acting must have ended. −Infinity: it must not be. Infinity: a set of one. */
  actsUntil(): Millis
  /** When the right itself ends: what the lifetime of the addresses is computed from (rights.ts). */
  rightUntil(): Millis
  /** Addresses not before this. */
  attachFrom(): Millis
  /** The main loop is alive. To be said at least four times within the timer `stall`. */
  moved(at: Millis): void
  /** The oldest fsync that has not returned began then; undefined: none is under way. */
  syncing(since: Millis | undefined): void
}

/** What the coordinator says. `acts` and `starts`: until when; −Infinity: not at all. */
export type Permission = { readonly acts: Millis; readonly starts: Millis; readonly right: Millis; readonly attachFrom: Millis }

export type CellOfCoordinator = {
  permit(permission: Permission): void
  /** For how long the main loop, or an fsync, has not moved. */
  stalledFor(at: Millis): Millis
}

export const NO_PERMISSION: Permission = {
  acts: Number.NEGATIVE_INFINITY,
  starts: Number.NEGATIVE_INFINITY,
  right: Number.NEGATIVE_INFINITY,
  attachFrom: Number.POSITIVE_INFINITY,
}

/** Nothing may be done, and the main loop has just moved. */
export function createCell(at: Millis): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(SLOTS.length * 8)
  cellOfCoordinator(buffer).permit(NO_PERMISSION)
  const main = cellOfMain(buffer)
  main.moved(at)
  main.syncing(undefined)
  return buffer
}

export function cellOfMain(buffer: SharedArrayBuffer): CellOfMain {
  const numbers = new SharedNumbers(buffer)
  return {
    mayAct: (at) => at < numbers.read('actsUntil'),
    mayStart: (at) => at < numbers.read('startsUntil'),
    actsUntil: () => numbers.read('actsUntil'),
    rightUntil: () => numbers.read('rightUntil'),
    attachFrom: () => numbers.read('attachFrom'),
    moved: (at) => numbers.write('movedAt', at),
    syncing: (since) => numbers.write('syncingSince', since ?? Number.POSITIVE_INFINITY),
  }
}

export function cellOfCoordinator(buffer: SharedArrayBuffer): CellOfCoordinator {
  const numbers = new SharedNumbers(buffer)
  return {
    permit: ({ acts, starts, right, attachFrom }) => {
      numbers.write('actsUntil', acts)
      numbers.write('startsUntil', starts)
      numbers.write('rightUntil', right)
      numbers.write('attachFrom', attachFrom)
    },
    stalledFor: (at) => Math.max(0, at - numbers.read('movedAt'), at - numbers.read('syncingSince')),
  }
}

class SharedNumbers {
  readonly #shared: BigInt64Array<SharedArrayBuffer>
  readonly #double = new Float64Array(1)
  readonly #bits = new BigInt64Array(this.#double.buffer)

  constructor(buffer: SharedArrayBuffer) {
    this.#shared = new BigInt64Array(buffer)
  }

  read(slot: Slot): number {
    this.#bits[0] = Atomics.load(this.#shared, SLOTS.indexOf(slot))
    return this.#double[0] ?? Number.NaN
  }

  write(slot: Slot, value: number): void {
    this.#double[0] = value
    Atomics.store(this.#shared, SLOTS.indexOf(slot), this.#bits[0] ?? 0n)
  }
}
