import { setTimeout as sleep } from 'node:timers/promises'

/** Waiting for facts, never for time. */

export class WaitedInVain extends Error {
  override readonly name = 'WaitedInVain'
}

export type WaitOptions = { readonly withinMillis?: number; readonly everyMillis?: number; readonly signal?: AbortSignal }

/**
 * Asks `probe` until it answers something other than undefined or false, and returns that. A probe that throws has not answered;
 * what it threw last is named when time is up.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions = {},
): Promise<T> {
  const within = options.withinMillis ?? 60_000
  const end = performance.now() + within
  let last = 'no answer yet'
  for (;;) {
    try {
      const answer = await probe()
      if (answer !== undefined && answer !== false) return answer
      last = 'not so yet'
    } catch (error) {
      if (error instanceof Error && error.name === 'BrokenPromise') throw error
      last = error instanceof Error ? error.message : String(error)
    }
    if (performance.now() > end) throw new WaitedInVain(`waited ${within / 1000} s for ${what}: ${last}`)
    await sleep(options.everyMillis ?? 250, undefined, options.signal ? { signal: options.signal } : {})
  }
}
