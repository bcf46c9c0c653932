import type { Millis } from '../queue/queue-store.ts'
import { admits, type CoolDown, type Gate, type GateEvent, OPEN, step } from '../shaping/destination-gate.ts'
import { learn, recall } from '../shaping/learnt-gate.ts'
import { FORGETFUL, type Memory } from './learnt.ts'

/** The gates of all destinations, or of all routes, by name. Those that are open and without failures need no memory. */

const MAX_GATES = 100_000

export class Gates {
  readonly #gates = new Map<string, Gate>()
  readonly #coolDown: () => CoolDown
  readonly #memory: Memory
  /** What nextOpening said, until a gate moves: it is asked at every pass. */
  #next: { readonly at: Millis | undefined } | undefined

  constructor(
    coolDown: () => CoolDown,
    { memory, now }: { readonly memory: Memory; readonly now: Millis } = { memory: FORGETFUL, now: 0 },
  ) {
    this.#coolDown = coolDown
    this.#memory = memory
    for (const [name, [until, coolDownMillis]] of memory.recalled()) {
      const isClosing = until !== undefined && coolDownMillis !== undefined
      const gate = isClosing ? recall({ until, coolDownMillis }, now, coolDown()) : undefined
      if (gate === undefined) memory.remember(name, undefined)
      else this.#gates.set(name, gate)
    }
  }

  admits(name: string, now: Millis, most: number): number {
    return admits(this.#gates.get(name) ?? OPEN, now, most)
  }

  /** The states before and after, for the log; undefined when the state is as it was. */
  step(name: string, event: GateEvent): { readonly from: Gate['state']; readonly to: Gate['state'] } | undefined {
    const before = this.#gates.get(name) ?? OPEN
    const after = step(before, event, this.#coolDown())
    if (after === before) return undefined
    const learnt = learn(after, event)
    if (learnt !== undefined) this.#memory.remember(name, learnt === 'nothing' ? undefined : [learnt.until, learnt.coolDownMillis])
    if (before.state !== 'open' || after.state !== 'open') this.#next = undefined
    this.#gates.delete(name)
    if (after.state !== 'open' || after.failures > 0) this.#gates.set(name, after)
    // Forgetting the one that did not move for longest costs one attempt, at worst.
    for (const oldest of this.#gates.keys()) {
      if (this.#gates.size <= MAX_GATES) break
      this.#gates.delete(oldest)
      this.#memory.remember(oldest, undefined)
    }
    return after.state === before.state ? undefined : { from: before.state, to: after.state }
  }

  /** When the next closed gate will let a probe through; undefined when none is closed. One that would by now is not waited for. */
  nextOpening(now: Millis): Millis | undefined {
    if (this.#next === undefined || (this.#next.at ?? Infinity) <= now) {
      let at: Millis | undefined
      for (const gate of this.#gates.values()) {
        if (gate.state === 'closed' && gate.until > now && (at === undefined || gate.until < at)) at = gate.until
      }
      this.#next = { at }
    }
    return this.#next.at
  }

  openingOf(name: string): Millis | undefined {
    const gate = this.#gates.get(name)
    return gate?.state === 'closed' ? gate.until : undefined
  }
}
