import type { Millis } from '../timers.ts'
import type { FromCoordinator } from './messages.ts'

type Told = Extract<FromCoordinator, { readonly kind: 'told' }>

/** What happens again and again is said once a minute: a peer that is away is asked twice a second, and a stranger could fill the log. */
export class Seldom {
  readonly #clock: () => Millis
  readonly #tell: (message: Told) => void
  readonly #said = new Map<string, Millis>()

  constructor(clock: () => Millis, tell: (message: Told) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  say(level: Told['level'], message: string, facts: Told['facts']): void {
    this.tell({ kind: 'told', level, message, facts })
  }

  tell(told: Told): void {
    const at = this.#clock()
    const words = JSON.stringify([told.message, told.facts]).replaceAll(/port \d+/g, 'port')
    const before = this.#said.get(words)
    if (before !== undefined && at - before < SAY_AGAIN) return
    this.#said.delete(words)
    this.#said.set(words, at)
    for (const oldest of this.#said.keys()) {
      if (this.#said.size <= MAX_KEPT) break
      this.#said.delete(oldest)
    }
    this.#tell(told)
  }
}

const SAY_AGAIN: Millis = 60_000
const MAX_KEPT = 100
