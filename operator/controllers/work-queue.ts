const OUTDATED_LIMIT = 64

/**
 * Keys that wait to be reconciled. A key is in it once, however often it is woken; a key that is being worked on waits until it is done; a key may wait for a
 * time. Pure but for its own state: the time is an argument.
 */
export class WorkQueue {
  /** In the order of their arrival. */
  readonly #ready = new Set<string>()
  readonly #working = new Set<string>()
  /** Woken while being worked on. */
  readonly #again = new Set<string>()
  readonly #delayed = new Map<string, number>()
  /** Min-heap by time over `#delayed`; may hold outdated entries, which are skipped. */
  #heap: Due[] = []

  /** Wake the key now. */
  add(key: string): void {
    this.#delayed.delete(key)
    if (this.#working.has(key)) this.#again.add(key)
    else this.#ready.add(key)
  }

  /** Wake the key at a time; when it is to be woken earlier already, that stays. */
  addAt(key: string, at: number): void {
    if (this.#ready.has(key) || this.#again.has(key)) return
    const known = this.#delayed.get(key)
    if (known !== undefined && known <= at) return
    this.#delayed.set(key, at)
    push(this.#heap, { key, at })
    if (this.#heap.length > 2 * this.#delayed.size + OUTDATED_LIMIT) this.#rebuild()
  }

  /** The next key, which is then being worked on until `done`. */
  take(now: number): string | undefined {
    this.#promote(now)
    const [key] = this.#ready
    if (key === undefined) return undefined
    this.#ready.delete(key)
    this.#working.add(key)
    return key
  }

  /** When the first of the delayed keys is due; Infinity when none waits. May be too early, never too late. */
  get nextAt(): number {
    return this.#heap[0]?.at ?? Infinity
  }

  done(key: string): void {
    this.#working.delete(key)
    if (this.#again.delete(key)) this.add(key)
  }

  /** Forgets what waits. */
  clear(): void {
    this.#ready.clear()
    this.#again.clear()
    this.#delayed.clear()
    this.#heap = []
  }

  /** How many keys could be worked on now. */
  get depth(): number {
    return this.#ready.size
  }

  #rebuild(): void {
    this.#heap = [...this.#delayed].map(([key, at]) => ({ key, at })).toSorted((a, b) => a.at - b.at)
  }

  #promote(now: number): void {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      const current = this.#delayed.get(first.key) === first.at
      if (current && first.at > now) return
      pop(this.#heap)
      if (current) this.add(first.key)
    }
  }
}

type Due = { readonly key: string; readonly at: number }

function push(heap: Due[], due: Due): void {
  let index = heap.push(due) - 1
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (!swapIfLater(heap, parent, index)) return
    index = parent
  }
}

function pop(heap: Due[]): void {
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return
  heap[0] = last
  for (let index = 0, child = 1; child < heap.length; child = 2 * index + 1) {
    const right = child + 1
    const least = isLater(heap, child, right) ? right : child
    if (!swapIfLater(heap, index, least)) return
    index = least
  }
}

function isLater(heap: readonly Due[], one: number, other: number): boolean {
  const [a, b] = [heap[one], heap[other]]
  return a !== undefined && b !== undefined && a.at > b.at
}

/** Restores the order of two places; whether it was wrong. */
function swapIfLater(heap: Due[], upper: number, lower: number): boolean {
  const [a, b] = [heap[upper], heap[lower]]
  if (a === undefined || b === undefined || a.at <= b.at) return false
  heap[upper] = b
  heap[lower] = a
  return true
}
