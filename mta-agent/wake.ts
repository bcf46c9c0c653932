import { setTimeout as wait } from 'node:timers/promises'

/** A sleep that others can end. */
export class Wake {
  #poked = new AbortController()

  poke(): void {
    this.#poked.abort()
  }

  async sleep(millis: number, signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([this.#poked.signal, signal])
    await pause(millis, until)
    this.#poked = new AbortController()
  }
}

/** Ends early, without a fault, when the signal aborts. */
export async function pause(millis: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(millis, undefined, { signal, ref: false })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
