import { formatRecord, type LeaseParts, parseRecord, type RecordContent, type ShardRecord } from '../record.ts'
import type { Millis } from '../timers.ts'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

/**
 * What becomes of one call. `late`: it is applied after its caller has given it up. `parked`: a write is applied when the adversary says so,
 * which is when it does most harm.
 */
export type Fate = 'well' | 'late' | 'lost' | 'answerLost' | 'parked'

type OnChange = (before: ShardRecord, after: ShardRecord) => void
type Caller = { readonly agent: string; readonly answer: (record: ShardRecord | undefined) => void }

/**
 * The API server with the one Lease. Writes are conditional on the resourceVersion. A GET shows the record of some moment between its sending
 * and its answer. Any call may be slow, applied late, lost, or lose its answer, and the server may be out for one agent or for all.
 */
export class ApiServer {
  #lease: LeaseParts
  #version = 1
  readonly #outUntil = new Map<string, Millis>()
  readonly #fates = new Map<string, Fate>()
  #parked: (() => void)[] = []
  readonly #timeline: Timeline
  readonly #random: Random
  readonly #onChange: OnChange
  /** How often a call meets trouble of its own accord. */
  trouble = 0

  constructor(world: { readonly timeline: Timeline; readonly random: Random }, first: RecordContent, onChange: OnChange) {
    this.#timeline = world.timeline
    this.#random = world.random
    this.#onChange = onChange
    this.#lease = lease(first, this.#version)
    this.current = parseRecord(this.#lease)
  }

  /** For the checks and for the admin, never for an agent. */
  current: ShardRecord

  get({ agent, answer }: Caller): void {
    // A GET that is parked has changed nothing and shows nothing, so it is the next write that is meant.
    const fate = this.#fates.get(agent) === 'parked' ? 'well' : this.#fateOf(agent)
    if (fate === 'lost' || this.#isOut(agent)) return
    const late = fate === 'late' ? this.#lateness() : 0
    this.#timeline.after(this.#latency(), () => {
      // A GET that was late on its way there is as current as any other, so the lateness comes after it was looked up.
      const shown = this.#lease
      if (fate !== 'answerLost') this.#answer({ agent, answer }, shown, late)
    })
  }

  put({ agent, answer }: Caller, base: string, content: RecordContent): void {
    const fate = this.#fateOf(agent)
    if (fate === 'lost') return
    if (this.#isOut(agent)) {
      // Whatever was on its way to a server that is out may still be in some queue before it.
      if (this.#random.chance(0.3)) this.#timeline.after(this.#lateness(), () => this.#apply(base, content))
      return
    }
    if (fate === 'parked') {
      this.#parked.push(() => this.#apply(base, content))
      return
    }
    const delay = fate === 'late' ? this.#lateness() : this.#latency()
    this.#timeline.after(delay, () => {
      this.#apply(base, content)
      if (fate !== 'answerLost') this.#answer({ agent, answer }, undefined, 0)
    })
  }

  /** The next call of this agent. */
  foretell(agent: string, fate: Fate): void {
    this.#fates.set(agent, fate)
  }

  breakFor(agent: string, duration: Millis): void {
    this.#outUntil.set(agent, Math.max(this.#outUntil.get(agent) ?? 0, this.#timeline.now + duration))
  }

  get hasParked(): boolean {
    return this.#parked.length > 0
  }

  /** What is parked is applied now, if it still can be. */
  release(): void {
    for (const apply of this.#parked.splice(0)) apply()
  }

  heal(): void {
    this.release()
    this.#outUntil.clear()
    this.#fates.clear()
    this.trouble = 0
  }

  #apply(base: string, content: RecordContent): void {
    if (this.#lease.metadata.resourceVersion !== base) return
    const before = this.current
    this.#version += 1
    this.#lease = lease(content, this.#version)
    this.current = parseRecord(this.#lease)
    this.#onChange(before, this.current)
  }

  #answer(caller: Caller, shown: LeaseParts | undefined, late: Millis): void {
    this.#timeline.after(late + this.#latency(), () => {
      if (!this.#isOut(caller.agent)) caller.answer(shown && parseRecord(shown))
    })
  }

  #fateOf(agent: string): Fate {
    const foretold = this.#fates.get(agent)
    this.#fates.delete(agent)
    if (foretold) return foretold
    return this.#random.chance(this.trouble) ? this.#random.pick(['late', 'lost', 'answerLost']) : 'well'
  }

  #isOut(agent: string): boolean {
    return (this.#outUntil.get(agent) ?? 0) > this.#timeline.now
  }

  #latency(): Millis {
    return this.#random.chance(0.1) ? this.#random.between(10, 300) : this.#random.between(0.2, 10)
  }

  #lateness(): Millis {
    return this.#random.pick([this.#random.between(200, 2_000), this.#random.between(1_000, 8_000), this.#random.between(5_000, 30_000)])
  }
}

function lease(content: RecordContent, version: number): LeaseParts {
  const { annotations, spec } = formatRecord(content)
  return { metadata: { resourceVersion: String(version), annotations }, spec }
}
