/** One sleeper, woken by others. A wakening while it was awake is not lost. */
export class Wakening {
  #woken = false
  #resolve: (() => void) | undefined

  wake(): void {
    this.#woken = true
    this.#resolve?.()
  }

  /** Resolves at the next wakening, at once when there was one since the last wait, or when the time is over. */
  async wait(millis?: number): Promise<void> {
    if (!this.#woken) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = millis === undefined ? undefined : setTimeout(resolve, millis)
      this.#resolve = resolve
      await promise
      clearTimeout(timer)
      this.#resolve = undefined
    }
    this.#woken = false
  }
}
