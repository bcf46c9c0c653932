/** Chance from a seed (mulberry32): the same seed, the same run, on every machine. */
export class Random {
  #state: number

  constructor(seed: number) {
    // Neighbouring seeds must not begin alike.
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ (seed >>> 13)
  }

  /** 0 ≤ x < 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next()
  }

  /** Both ends included. */
  whole(low: number, high: number): number {
    return low + Math.floor((high - low + 1) * this.next())
  }

  pick<T>(list: readonly T[]): T {
    const one = list[Math.floor(list.length * this.next())]
    if (one === undefined) throw new RangeError('nothing to pick was given')
    return one
  }

  /** By weight; what weighs nothing is never picked. */
  pickWeighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries<number | undefined>(weights)
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + (weight ?? 0), 0)
    for (const [key, weight] of entries) {
      left -= weight ?? 0
      if (left < 0) return key as K
    }
    throw new RangeError('nothing to pick was given')
  }
}
