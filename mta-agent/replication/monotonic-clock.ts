import type { Millis } from './timers.ts'

/**
 * The one clock of hot standby: CLOCK_MONOTONIC, the same in all threads of a process (performance.now() counts from each thread's own
 * start), and in all processes of a node, which is what the holder of the addresses needs.
 */
export const monotonicMillis = (): Millis => Number(process.hrtime.bigint()) / 1e6
