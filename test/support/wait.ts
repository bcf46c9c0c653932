import { setTimeout as sleep } from 'node:timers/promises'

/** Waiting for facts, never for time: it says what it waited for, and always has an end. */

export class WaitedInVain extends Error {
  override readonly name = 'WaitedInVain'
}

export type WaitOptions = {
  /** A minute when absent. */
  readonly withinMillis?: number
  readonly everyMillis?: number
  readonly signal?: AbortSignal | undefined
}

export type Probe<T> = () => Promise<T | undefined | false> | T | undefined | false

/**
 * Asks `probe` until it answers something other than undefined or false, and returns that. A probe that throws has not answered;
 * what it threw last is named when time is up.
 */
export async function waitFor<T>(what: string, probe: Probe<T>, options: WaitOptions = {}): Promise<T> {
  let last = 'no answer yet'
  const patient: Probe<T> = async () => {
    try {
      const answer = await probe()
      last = 'not so yet'
      return answer
    } catch (error) {
      if (error instanceof Error && error.name === 'BrokenPromise') throw error
      last = error instanceof Error ? error.message : String(error)
      return undefined
    }
  }
  return await watchFor(what, patient, { everyMillis: 250, ...options }, () => last)
}

/** As waitFor, but a probe that throws ends the wait: it knows that the fact will not come. `complaint`: what is known of why it did not. */
export async function watchFor<T>(
  what: string,
  probe: Probe<T>,
  options: WaitOptions = {},
  complaint?: () => string | Promise<string>,
): Promise<T> {
  const within = options.withinMillis ?? 60_000
  const end = performance.now() + within
  for (;;) {
    const answer = await probe()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > end) {
      const known = await complaint?.()
      throw new WaitedInVain(`waited ${within / 1000} s for ${what}, in vain${known === undefined || known === '' ? '' : `: ${known}`}`)
    }
    await sleep(options.everyMillis ?? 100, undefined, { signal: options.signal })
  }
}
