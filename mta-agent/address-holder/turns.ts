/** One after the other, in the order of asking. One that throws does not hold up the next. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  take<T>(deed: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(deed, deed)
    this.#last = turn.catch(() => {})
    return turn
  }
}
