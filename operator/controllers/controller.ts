import type { TokenBucket } from './token-bucket.ts'
import { WorkQueue } from './work-queue.ts'

/**
 * THE LOOP: key → reconcile → requeue. One reconcile at a time for each key, a bounded number at a time for each controller, a bounded number a second for all.
 * A reconcile that fails comes again with growing delays; nothing that it throws ends the loop.
 */

/** Names one object of the kind that a controller is responsible for. */
export type ObjectKey = { readonly namespace: string; readonly name: string }

/** never: wake me when something changes. after: and at the latest then, in milliseconds. */
export type Requeue = 'never' | { readonly after: number }

/**
 * Brings the world nearer to what one object wants: read, plan, apply, report. Idempotent. A throw means "not done": it is counted, logged and
 * tried again with growing delays. The signal aborts when the operator stops or the time for one reconcile is over.
 */
export type Reconcile = (key: ObjectKey, signal: AbortSignal) => Promise<Requeue>

/** Time and chance for the loop. */
export type LoopClock = {
  /** Milliseconds on a clock that only goes forward. */
  monotonic(): number
  sleep(millis: number, signal: AbortSignal): Promise<void>
  /** 0 ≤ x < 1. */
  random(): number
}

export type LoopReport =
  | { readonly kind: 'done'; readonly key: ObjectKey; readonly millis: number; readonly requeue: Requeue }
  | { readonly kind: 'failed'; readonly key: ObjectKey; readonly millis: number; readonly error: unknown; readonly retryMillis: number }

export type ControllerOptions = {
  /** The kind whose keys it works on. */
  readonly name: string
  readonly reconcile: Reconcile
  readonly clock: LoopClock
  /** Shared by all controllers: bounds the reconciles of the whole process. */
  readonly bucket: TokenBucket
  /** For logs and metrics; must not throw. */
  readonly onReport: (report: LoopReport) => void
  /** How many reconciles at a time. */
  readonly concurrency?: number
  readonly timing?: LoopTiming
}

export type LoopTiming = {
  /** Time for one reconcile; then its signal aborts. */
  readonly reconcileMillis: number
  readonly firstRetryMillis: number
  readonly maxRetryMillis: number
}

const DEFAULT_CONCURRENCY = 10
const DEFAULT_TIMING: LoopTiming = { reconcileMillis: 60_000, firstRetryMillis: 500, maxRetryMillis: 300_000 }

export class Controller {
  readonly name: string
  readonly #options: ControllerOptions
  readonly #timing: LoopTiming
  readonly #queue = new WorkQueue()
  readonly #failures = new Map<string, number>()
  readonly #running = new Map<string, { readonly since: number; readonly ended: Promise<void> }>()
  #woken = Promise.withResolvers<void>()

  constructor(options: ControllerOptions) {
    this.name = options.name
    this.#options = options
    this.#timing = options.timing ?? DEFAULT_TIMING
  }

  /** Something that the object looks at has changed. */
  wake(key: ObjectKey): void {
    this.#queue.add(formatKey(key))
    this.#woken.resolve()
  }

  /** Works until the signal aborts; resolves when the last reconcile has ended. What waits then is forgotten: whoever runs it again wakes everything. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#woken = Promise.withResolvers()
      this.#fill(signal)
      if (!signal.aborted) await this.#untilNext(signal)
    }
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
    this.#queue.clear()
    this.#failures.clear()
  }

  /** How many keys wait for a free place. */
  get depth(): number {
    return this.#queue.depth
  }

  /** How long the oldest reconcile has been running, in milliseconds. Far above the time for one, it ignores its signal: the loop is stuck. */
  get oldestRunningMillis(): number {
    const now = this.#options.clock.monotonic()
    return Math.max(0, ...[...this.#running.values()].map(({ since }) => now - since))
  }

  /** Starts what may be started now. */
  #fill(signal: AbortSignal): void {
    const { clock, bucket, concurrency = DEFAULT_CONCURRENCY } = this.#options
    while (!signal.aborted && this.#running.size < concurrency) {
      const key = this.#queue.take(clock.monotonic())
      if (key === undefined) return
      this.#running.set(key, { since: clock.monotonic(), ended: this.#reconcile(key, bucket.take(clock.monotonic()), signal) })
    }
  }

  /** Until a key was woken, a reconcile ended, or a delayed key is due. */
  async #untilNext(signal: AbortSignal): Promise<void> {
    const { clock, concurrency = DEFAULT_CONCURRENCY } = this.#options
    const enough = new AbortController()
    const stop = () => enough.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    try {
      const next = this.#queue.nextAt
      const due = this.#running.size < concurrency && next !== Infinity ? [sleepUntil(clock, next, enough.signal)] : []
      await Promise.race([this.#woken.promise, aborted(enough.signal), ...due])
    } finally {
      signal.removeEventListener('abort', stop)
      enough.abort()
    }
  }

  /** Never rejects. */
  async #reconcile(text: string, waitMillis: number, signal: AbortSignal): Promise<void> {
    const { clock, reconcile, onReport } = this.#options
    const key = parseKey(text)
    let started = clock.monotonic()
    try {
      if (waitMillis > 0) await clock.sleep(waitMillis, signal)
      started = clock.monotonic()
      const requeue = await withDeadline(this.#timing.reconcileMillis, signal, (limit) => reconcile(key, limit))
      this.#failures.delete(text)
      if (requeue !== 'never') this.#queue.addAt(text, clock.monotonic() + requeue.after)
      onReport({ kind: 'done', key, millis: clock.monotonic() - started, requeue })
    } catch (error) {
      if (!signal.aborted) this.#retry(text, error, clock.monotonic() - started)
    } finally {
      this.#running.delete(text)
      this.#queue.done(text)
      this.#woken.resolve()
    }
  }

  #retry(text: string, error: unknown, millis: number): void {
    const { clock, onReport } = this.#options
    const failures = (this.#failures.get(text) ?? 0) + 1
    this.#failures.set(text, failures)
    const retryMillis = retryDelayMillis(this.#timing, failures, clock.random())
    this.#queue.addAt(text, clock.monotonic() + retryMillis)
    onReport({ kind: 'failed', key: parseKey(text), millis, error, retryMillis })
  }
}

/** After the nth failure in a row (n ≥ 1): doubling up to the cap, half of it by chance. */
export function retryDelayMillis({ firstRetryMillis, maxRetryMillis }: LoopTiming, failures: number, random: number): number {
  const full = Math.min(maxRetryMillis, firstRetryMillis * 2 ** Math.min(failures - 1, 30))
  return full * (0.5 + random / 2)
}

async function withDeadline<T>(millis: number, signal: AbortSignal, run: (limit: AbortSignal) => Promise<T>): Promise<T> {
  const control = new AbortController()
  const onAbort = () => control.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => control.abort(new Error(`not done within ${millis} ms`)), millis)
  try {
    return await run(control.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

async function sleepUntil(clock: LoopClock, at: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(at - clock.monotonic(), signal)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

const formatKey = ({ namespace, name }: ObjectKey): string => `${namespace}/${name}`

function parseKey(text: string): ObjectKey {
  const slash = text.indexOf('/')
  return { namespace: text.slice(0, slash), name: text.slice(slash + 1) }
}
