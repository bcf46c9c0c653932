import type { Millis } from '../timers.ts'

type Item = { readonly at: Millis; readonly order: number; readonly run: () => void }

/** True time, which no agent can read, and what is going to happen. What is due at the same time happens in the order it was planned. */
export class Timeline {
  now: Millis = 0
  steps = 0
  readonly #heap: Item[] = []

  after(delay: Millis, run: () => void): void {
    this.at(this.now + Math.max(0, delay), run)
  }

  /** Of what is planned for the same moment from different ones, none overtakes another by a rounding error. */
  at(time: Millis, run: () => void): void {
    const item = { at: time, order: this.steps++, run }
    let i = this.#heap.push(item) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!isBefore(item, this.#heap[parent]!)) break
      this.#heap[i] = this.#heap[parent]!
      i = parent
    }
    this.#heap[i] = item
  }

  /** All that is due until `end`, with a look after each. */
  runUntil(end: Millis, look: () => void): void {
    while (this.#heap[0] !== undefined && this.#heap[0].at <= end) {
      const item = this.#take()
      this.now = item.at
      item.run()
      look()
    }
    this.now = end
  }

  #take(): Item {
    const first = this.#heap[0]!
    const last = this.#heap.pop()!
    const size = this.#heap.length
    let i = 0
    while (2 * i + 1 < size) {
      const right = 2 * i + 2
      const child = right < size && isBefore(this.#heap[right]!, this.#heap[right - 1]!) ? right : right - 1
      if (!isBefore(this.#heap[child]!, last)) break
      this.#heap[i] = this.#heap[child]!
      i = child
    }
    if (size > 0) this.#heap[i] = last
    return first
  }
}

const isBefore = (a: Item, b: Item): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)
