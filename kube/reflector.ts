import type { Client, Selection, WatchEvent } from './client.ts'
import { type BackOff, backOffMillis, type Clock } from './clock.ts'
import { isKubeError, type KubeError } from './errors.ts'
import { apiVersionOf, type KubeObject, type Resource } from './resources.ts'

/**
 * Keeps a copy of what the API server has of one kind: list once, then watch, for as long as it takes. No failed call ends it: a broken or silent watch goes on
 * where it was, one that is too old lists again, everything else is tried again with growing delays. Only a throw of the sink ends it, loudly, for then
 * the copy can no longer be trusted.
 */

/** Where the objects go. Called in order, never at the same time. A throw ends the reflector. */
export type Sink<T> = {
  /** This is everything there is, as of `resourceVersion`; what is not in it is gone. */
  replace(objects: readonly T[], resourceVersion: string): void
  put(object: T): void
  remove(object: T): void
}

export type ReflectorReport =
  | { readonly kind: 'listed'; readonly objects: number; readonly because: 'Start' | 'TooOld' }
  | { readonly kind: 'watching' }
  | { readonly kind: 'failed'; readonly step: 'list' | 'watch'; readonly error: KubeError; readonly retryMillis: number }

export type ReflectorTimes = {
  /** The server ends each watch after a time chosen by chance from this range, so that watches do not all start at once. */
  readonly watchSeconds: readonly [least: number, most: number]
  /** A watch that is silent for so long is taken for dead. More than a minute: the server sends a bookmark about once a minute. */
  readonly silenceMillis: number
  readonly deadlineMillis: number
  readonly backOff: BackOff
}

export const DEFAULT_TIMES: ReflectorTimes = {
  watchSeconds: [240, 480],
  silenceMillis: 150_000,
  deadlineMillis: 30_000,
  backOff: { firstMillis: 800, maxMillis: 30_000 },
}

export type Reflector<T extends KubeObject> = {
  readonly client: Pick<Client, 'listPages' | 'watch'>
  readonly of: Resource<T>
  readonly selection: Selection
  readonly sink: Sink<T>
  readonly clock: Clock
  /**
   * Asked when a list is forbidden: whether the place that is selected does not exist. Rights in a namespace go with it, and so does everything else: then
   * there is nothing, which must not be waited for. It is listed again all the same, for it may come back.
   */
  readonly isGone?: (signal: AbortSignal) => Promise<boolean>
  /** Leaves out what nobody reads, so that it is not kept. */
  readonly trim?: (object: T) => T
  readonly times?: ReflectorTimes
  /** For logs and metrics; must not throw. */
  readonly onReport?: (report: ReflectorReport) => void
  /** Called at every step forward, for the health check: a reflector that takes no step is stuck. */
  readonly onStep?: () => void
}

/** A watch that lived so long was a good one: what follows is no failure in a row. */
const GOOD_WATCH_MILLIS = 5000

/** Runs until the signal aborts (then it resolves) or the sink throws (then it rejects). */
export async function runReflector<T extends KubeObject>(reflector: Reflector<T>, signal: AbortSignal): Promise<void> {
  const run = new ReflectorRun(reflector, signal)
  while (!signal.aborted) await run.step()
}

/** Where the copy stands. `since` is the resource version that the next watch begins at; without it a list comes first. */
type Position = { readonly since: string } | { readonly because: 'Start' | 'TooOld' }

class ReflectorRun<T extends KubeObject> {
  readonly #reflector: Reflector<T>
  readonly #signal: AbortSignal
  readonly #times: ReflectorTimes
  #position: Position = { because: 'Start' }
  #failures = 0

  constructor(reflector: Reflector<T>, signal: AbortSignal) {
    this.#reflector = reflector
    this.#signal = signal
    this.#times = reflector.times ?? DEFAULT_TIMES
  }

  /** One list or one watch, and the wait after it when it failed. */
  async step(): Promise<void> {
    this.#reflector.onStep?.()
    const position = this.#position
    try {
      if ('since' in position) await this.#watch(position.since)
      else await this.#list(position.because)
    } catch (error) {
      if (this.#signal.aborted) return
      if (!isKubeError(error)) throw error
      await this.#waitAfter(error, 'since' in position ? 'watch' : 'list')
    }
  }

  async #list(because: 'Start' | 'TooOld'): Promise<void> {
    const { client, of, selection, sink } = this.#reflector
    const objects: T[] = []
    let resourceVersion = ''
    for await (const page of client.listPages(of, selection, { signal: this.#signal, deadlineMillis: this.#times.deadlineMillis })) {
      this.#reflector.onStep?.()
      objects.push(...page.items.map((item) => this.#prepare(item)))
      resourceVersion = page.resourceVersion
    }
    sink.replace(objects, resourceVersion)
    this.#position = { since: resourceVersion }
    this.#reflector.onReport?.({ kind: 'listed', objects: objects.length, because })
  }

  async #watch(resourceVersion: string): Promise<void> {
    const { client, of, selection, clock } = this.#reflector
    const [least, most] = this.#times.watchSeconds
    const timeoutSeconds = Math.round(least + (most - least) * clock.random())
    const started = clock.monotonic()
    const options = { ...selection, resourceVersion, timeoutSeconds, silenceMillis: this.#times.silenceMillis }
    this.#reflector.onReport?.({ kind: 'watching' })
    try {
      for await (const event of client.watch(of, options, { signal: this.#signal, deadlineMillis: this.#times.deadlineMillis })) {
        this.#reflector.onStep?.()
        this.#take(event)
        this.#failures = 0
      }
    } finally {
      if (clock.monotonic() - started >= GOOD_WATCH_MILLIS) this.#failures = 0
    }
    // Ended by the server without an error. One that ended at once must not make us spin.
    if (clock.monotonic() - started < 1000) await this.#pause(this.#nextDelay())
  }

  #take(event: WatchEvent<T>): void {
    const { sink } = this.#reflector
    if (event.type === 'DELETED') sink.remove(this.#prepare(event.object))
    else if (event.type !== 'BOOKMARK') sink.put(this.#prepare(event.object))
    const { resourceVersion } = event.object.metadata
    if (resourceVersion !== undefined) this.#position = { since: resourceVersion }
  }

  /** managedFields are half of many objects and nobody here reads them; kind and apiVersion are missing in the items of a list. */
  #prepare(object: T): T {
    const { of, trim } = this.#reflector
    const { managedFields: _, ...metadata } = object.metadata as T['metadata'] & { readonly managedFields?: unknown }
    const whole: T = { ...object, apiVersion: apiVersionOf(of), kind: of.kind, metadata }
    return trim === undefined ? whole : trim(whole)
  }

  async #waitAfter(error: KubeError, step: 'list' | 'watch'): Promise<void> {
    // Too old, or a resource version the server does not understand (it was restored from a backup): only a list helps.
    if (step === 'watch' && isKubeError(error, 'gone', 'invalid')) this.#position = { because: 'TooOld' }
    const asked = error.failure.kind === 'tooManyRequests' ? error.failure.retryAfterSeconds * 1000 : 0
    const retryMillis = Math.max(asked, this.#nextDelay())
    this.#reflector.onReport?.({ kind: 'failed', step, error, retryMillis })
    if (step === 'list' && isKubeError(error, 'forbidden') && (await this.#reflector.isGone?.(this.#signal)) === true)
      this.#reflector.sink.replace([], '')
    await this.#pause(retryMillis)
  }

  #nextDelay(): number {
    this.#failures += 1
    return backOffMillis(this.#times.backOff, this.#failures, this.#reflector.clock.random())
  }

  async #pause(millis: number): Promise<void> {
    try {
      await this.#reflector.clock.sleep(millis, this.#signal)
    } catch (error) {
      if (!this.#signal.aborted) throw error
    }
  }
}
