import type { Millis } from './lifetimes.ts'

/** CLOCK_MONOTONIC, which counts from the start of the node and is the same in all its processes; `performance.now` is not. */
export const monotonicMillis = (): Millis => Number(process.hrtime.bigint()) / 1e6
