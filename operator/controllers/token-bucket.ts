/** How often something may happen: so many at once, then so many a second. Pure but for its own state. */
export class TokenBucket {
  readonly #burst: number
  readonly #perSecond: number
  #tokens: number
  #at = -Infinity

  constructor({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }) {
    this.#burst = burst
    this.#perSecond = perSecond
    this.#tokens = burst
  }

  /** Takes a token; it may be used after so many milliseconds. Tokens of the future are given out in order. */
  take(now: number): number {
    const passed = Number.isFinite(this.#at) ? now - this.#at : 0
    this.#tokens = Math.min(this.#burst, this.#tokens + (passed / 1000) * this.#perSecond) - 1
    this.#at = now
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#perSecond) * 1000
  }
}
