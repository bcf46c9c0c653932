/**
 * The timers of hot standby (README.md, section 4) and what must hold between them. All count on monotonic clocks of single processes that
 * may drift by DRIFT against true time; a set of timers that does not keep the inequalities would let two agents act, so none is built.
 */

/** On a monotonic clock; comes in as an argument, never from a clock read here. */
export type Millis = number

/** ρ: how far a monotonic clock may run fast or slow. A promise of the hardware. */
export const DRIFT = 0.1

/** How long the kernel may keep an address beyond its lifetime: it looks once a second, and its network lock may be busy. */
export const KERNEL_LATE: Millis = 1_250

export type Timers = {
  /** Between two beacons of a primary. */
  readonly beacon: Millis
  /** Standby's clock: no claim for so long after a beacon arrived. */
  readonly promise: Millis
  /** Primary's clock: how long it may act on an answered beacon, counted from just before it was sent. */
  readonly right: Millis
  /** Acting ends so long before the right does: the time to close all connections and the listener. */
  readonly stop: Millis
  /** Deadline of one call to the API server. */
  readonly call: Millis
  /** A copy that has not answered or confirmed for so long leaves the set. */
  readonly removeAfter: Millis
  /** A primary whose main loop or disk has not moved for so long sends no more beacons. */
  readonly stall: Millis
  /** Standby's clock: from an unplanned claim to attaching addresses. */
  readonly attachWait: Millis
  /** The longest pause of a process or a disk that shall cost nothing. */
  readonly harmlessPause: Millis
}

export const DEFAULT_TIMERS: Timers = buildTimers({
  beacon: 500,
  promise: 6_000,
  right: 4_900,
  stop: 300,
  call: 900,
  removeAfter: 2_500,
  stall: 3_000,
  attachWait: 1_600,
  harmlessPause: 2_000,
})

export const FAST_TIMERS: Timers = buildTimers({
  beacon: 200,
  promise: 2_500,
  right: 2_000,
  stop: 150,
  call: 400,
  removeAfter: 1_000,
  stall: 1_500,
  attachWait: 1_600,
  harmlessPause: 800,
})

/** The timers that a stream's spec names. */
export const timersOf = (timing: 'Default' | 'Fast'): Timers => (timing === 'Fast' ? FAST_TIMERS : DEFAULT_TIMERS)

/** Throws RangeError, naming the inequality, for timers under which the protocol would not be safe or would not work. */
export function buildTimers(timers: Timers): Timers {
  for (const [name, value] of Object.entries(timers)) {
    if (!Number.isFinite(value) || value <= 0) throw new RangeError(`timer ${name} must be a positive number of milliseconds, was ${value}`)
  }
  for (const { name, left, right } of inequalities(timers)) {
    if (left > right) throw new RangeError(`timers must keep ${name}: ${Math.round(left)} ms is more than ${Math.round(right)} ms`)
  }
  return timers
}

type Inequality = { readonly name: string; readonly left: number; readonly right: number }

function inequalities(t: Timers): readonly Inequality[] {
  return [
    // Several beacons may be lost before a right ends.
    { name: 'beacon ≤ right / 8', left: t.beacon, right: t.right / 8 },
    // A right ends before the promise it rests on, with the primary's clock slow and the standby's fast.
    { name: 'right ≤ promise · (1 − ρ) / (1 + ρ)', left: t.right, right: (t.promise * (1 - DRIFT)) / (1 + DRIFT) },
    // A dead standby is out of the set before the primary has to stop: one read, one write.
    { name: 'removeAfter + 2 · call ≤ right − stop', left: t.removeAfter + 2 * t.call, right: t.right - t.stop },
    { name: 'harmlessPause ≤ removeAfter', left: t.harmlessPause, right: t.removeAfter },
    { name: 'harmlessPause ≤ stall', left: t.harmlessPause, right: t.stall },
    // The old node's kernel has dropped the addresses, with its clock slow and the standby's fast.
    { name: 'kernelLate · (1 + ρ) / (1 − ρ) ≤ attachWait', left: (KERNEL_LATE * (1 + DRIFT)) / (1 - DRIFT), right: t.attachWait },
  ]
}
