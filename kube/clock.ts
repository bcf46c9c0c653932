import { setTimeout as wait } from 'node:timers/promises'

/** Time and chance, handed to everything that waits, so that tests decide both. */
export type Clock = {
  /** Milliseconds on a clock that only goes forward; comparable within this process only. */
  monotonic(): number
  /** Milliseconds since the epoch: for what people read, never for measuring. */
  wall(): number
  /** Rejects with the signal's reason when it aborts. */
  sleep(millis: number, signal: AbortSignal): Promise<void>
  /** 0 ≤ x < 1. */
  random(): number
}

export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
  sleep: async (millis, signal) => {
    signal.throwIfAborted()
    try {
      await wait(Math.max(0, millis), undefined, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw error
    }
  },
}

export type BackOff = { readonly firstMillis: number; readonly maxMillis: number }

/** How long to wait after the nth failure in a row (n ≥ 1): doubling up to the cap, half of it by chance so that many do not come back at once. */
export function backOffMillis({ firstMillis, maxMillis }: BackOff, failures: number, random: number): number {
  const full = Math.min(maxMillis, firstMillis * 2 ** Math.min(failures - 1, 30))
  return full * (0.5 + random / 2)
}
