/**
 * How many bytes of content may lie in memory for transactions, all together. Without it a burst of large messages to slow hosts would
 * be as large as the number of connections allows. First come, first served; what is larger than the whole budget goes alone.
 */
export class ContentBudget {
  readonly #total: number
  readonly #waiting = new Set<{ readonly bytes: number; readonly start: () => void }>()
  #free: number

  constructor(totalBytes: number) {
    this.#total = totalBytes
    this.#free = totalBytes
  }

  /** Resolves when the bytes are reserved, until disposed; or to 'stopped' when the signal fires first. */
  async reserve(bytes: number, signal: AbortSignal): Promise<Disposable | 'stopped'> {
    const wanted = Math.min(bytes, this.#total)
    if (this.#waiting.size > 0 || wanted > this.#free) {
      if ((await this.#wait(wanted, signal)) === 'stopped') return 'stopped'
    } else this.#free -= wanted
    return {
      [Symbol.dispose]: () => {
        this.#free += wanted
        this.#startWaiting()
      },
    }
  }

  async #wait(bytes: number, signal: AbortSignal): Promise<'reserved' | 'stopped'> {
    if (signal.aborted) return 'stopped'
    const { promise, resolve } = Promise.withResolvers<'reserved' | 'stopped'>()
    const waiter = { bytes, start: () => resolve('reserved') }
    const stop = (): void => {
      // Not there any more: it was started, and its bytes are reserved.
      if (!this.#waiting.delete(waiter)) return
      resolve('stopped')
      this.#startWaiting()
    }
    this.#waiting.add(waiter)
    signal.addEventListener('abort', stop, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  #startWaiting(): void {
    for (const waiter of this.#waiting) {
      if (waiter.bytes > this.#free) return
      this.#waiting.delete(waiter)
      this.#free -= waiter.bytes
      waiter.start()
    }
  }
}
