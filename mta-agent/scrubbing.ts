import type { ScrubResult } from './queue/verify-store.ts'

/**
 * Looks through the whole queue for damage once a day, so that a disk which loses what it was given is known before the mail on it falls
 * due. Mail never waits for it, and nothing that it finds or fails at ends the process.
 */

export type ScrubbingPorts = {
  readonly scrub: (signal: AbortSignal) => Promise<ScrubResult>
  /** Resolves after so many milliseconds, or when the signal aborts. */
  readonly sleep: (millis: number, signal: AbortSignal) => Promise<void>
  /** In [0, 1). */
  readonly random: () => number
  readonly log: { info(facts: object, message: string): void; error(facts: object, message: string): void }
}

const MINUTE = 60_000
/** After the start, in which there is enough to do; and not all agents of a node at once. */
const FIRST = { least: 10 * MINUTE, most: 20 * MINUTE } as const
const NEXT = { least: 22 * 60 * MINUTE, most: 26 * 60 * MINUTE } as const

/** Runs until the signal aborts. Never rejects. */
export async function runScrubbing({ scrub, sleep, random, log }: ScrubbingPorts, signal: AbortSignal): Promise<void> {
  const between = ({ least, most }: { readonly least: number; readonly most: number }): number => least + random() * (most - least)
  for (let wait = between(FIRST); ; wait = between(NEXT)) {
    await sleep(wait, signal)
    if (signal.aborted) return
    try {
      const result = await scrub(signal)
      log[result.damaged > 0 ? 'error' : 'info'](result, 'queue checked')
    } catch (error) {
      if (signal.aborted) return
      log.error({ error }, 'queue not checked')
    }
  }
}
