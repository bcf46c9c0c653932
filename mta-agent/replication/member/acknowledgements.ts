import { NotCommitted } from '../../queue/queue-store.ts'

/**
 * Clients that wait for their 250 in one reign (R2). What must never happen: a 250 for an entry that is not committed, or after the reign has
 * ended.
 */

/** All up to `sequence` is committed, and what is to be said of it. */
export type Committed = { readonly sequence: number; readonly how: 'inSync' | 'alone' | 'refuse' }

type Waiting = {
  readonly sequence: number
  readonly resolve: (how: 'inSync' | 'alone') => void
  readonly reject: (error: NotCommitted) => void
}

export class Acknowledgements {
  /** By sequence. */
  readonly #waiting: Waiting[] = []
  #committed: Committed = { sequence: 0, how: 'refuse' }
  #ended = false

  /** Resolves when the entry is committed. Rejects with NotCommitted when its client must not be told 250. */
  async wait(sequence: number): Promise<'inSync' | 'alone'> {
    const { promise, resolve, reject } = Promise.withResolvers<'inSync' | 'alone'>()
    const waiting = { sequence, resolve, reject }
    if (this.#ended) reject(new NotCommitted('NotPrimary'))
    else if (sequence <= this.#committed.sequence) answer(waiting, this.#committed)
    else this.#waiting.splice(this.#placeOf(sequence), 0, waiting)
    return await promise
  }

  /** Entries become durable in order, so this is nearly always the end. */
  #placeOf(sequence: number): number {
    let place = this.#waiting.length
    while (place > 0 && this.#waiting[place - 1]!.sequence > sequence) place--
    return place
  }

  /** What was said last holds for all before: those who have confirmed this have confirmed them. */
  note(committed: Committed): void {
    this.#committed = committed
    const end = this.#waiting.findIndex(({ sequence }) => sequence > committed.sequence)
    for (const waiting of this.#waiting.splice(0, end === -1 ? this.#waiting.length : end)) answer(waiting, committed)
  }

  sequence(): number {
    return this.#committed.sequence
  }

  /** Nobody is told 250 any more. What is in the log may be delivered by the next primary; its client comes again. */
  end(): void {
    this.#ended = true
    for (const { reject } of this.#waiting.splice(0)) reject(new NotCommitted('NotPrimary'))
  }
}

function answer({ resolve, reject }: Waiting, { how }: Committed): void {
  if (how === 'refuse') reject(new NotCommitted('NoStandbyInSync'))
  else resolve(how)
}
