import { setTimeout as delay } from 'node:timers/promises'

/**
 * One commit at a time; what comes meanwhile goes into the next one. Under load the batches grow by themselves and the cost of an fsync
 * is shared, alone a change waits for nobody.
 */
export type Change = {
  readonly sizeBytes: number
  /** How many it counts for; one, if not said. */
  readonly entries?: number
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

/** What came of a commit: `again` are tried once more after a pause, in order, before all others. `wake` is called when that is known to all. */
export type CommitResult<C> = { readonly again: readonly C[]; readonly wake?: () => void }

/** Modest, for the sake of the free list (lmdb-js #321), and so that no commit takes seconds. */
const MAX_ENTRIES = 256
const MAX_BYTES = 8 * 2 ** 20
const PAUSE_MILLIS = 1000

export class GroupCommit<C extends Change> {
  readonly #commit: (changes: readonly C[]) => Promise<CommitResult<C>>
  readonly #whenStuck: (change: C) => Error | undefined
  readonly #closing = new AbortController()
  #waiting: C[] = []
  #running: Promise<void> | undefined
  #stuck = false
  #end: Error | undefined

  /**
   * `commit` calls done or failed of each change that it does not return. It must not reject. `whenStuck`: what a change fails with that shall not wait
   * behind those which are tried once more.
   */
  constructor(commit: (changes: readonly C[]) => Promise<CommitResult<C>>, whenStuck: (change: C) => Error | undefined) {
    this.#commit = commit
    this.#whenStuck = whenStuck
  }

  push(change: C): void {
    if (this.#end) {
      change.failed(this.#end)
      return
    }
    this.#waiting.push(change)
    if (this.#stuck) this.#failWhatCannotWait()
    this.#running ??= this.#run()
  }

  /** Nothing gets through: changes wait for the disk to have room, or the end has come. */
  isStuck(): boolean {
    return this.#stuck || this.#end !== undefined
  }

  /** A commit is under way or about to be. */
  isBusy(): boolean {
    return this.#running !== undefined
  }

  async #run(): Promise<void> {
    // All that the event loop brings in one go shall share the first commit.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0 && !this.#end) {
      const { again, wake } = await this.#commit(this.#takeBatch())
      this.#stuck = again.length > 0
      wake?.()
      if (!this.#stuck) continue
      this.#waiting = [...again, ...this.#waiting]
      this.#failWhatCannotWait()
      await delay(PAUSE_MILLIS, undefined, { signal: this.#closing.signal }).catch(rethrowUnlessAborted)
      if (this.#closing.signal.aborted)
        this.stop(new Error('the disk of the queue was full to the end: what came of attempts could not be recorded'))
    }
    this.#running = undefined
  }

  #failWhatCannotWait(): void {
    const waiting = this.#waiting.splice(0)
    for (const change of waiting) {
      const error = this.#whenStuck(change)
      if (error === undefined) this.#waiting.push(change)
      else change.failed(error)
    }
  }

  #takeBatch(): readonly C[] {
    let bytes = 0
    let entries = 0
    let count = 0
    for (const change of this.#waiting) {
      entries += change.entries ?? 1
      bytes += change.sizeBytes
      if (count > 0 && (entries > MAX_ENTRIES || bytes > MAX_BYTES)) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  /** Fails all that waits and all that comes. */
  stop(error: Error): void {
    this.#end ??= error
    for (const change of this.#waiting.splice(0)) change.failed(error)
  }

  /** A full disk is the end from now on: what would be tried once more fails, with all others. */
  stopWaiting(): void {
    this.#closing.abort()
  }

  /** Resolves when all that was pushed is committed or has failed. What comes later fails. */
  async close(): Promise<void> {
    this.stopWaiting()
    await this.#running
    this.stop(new Error('the queue is closed'))
  }
}

function rethrowUnlessAborted(error: unknown): void {
  if (!(error instanceof Error && error.name === 'AbortError')) throw error
}
