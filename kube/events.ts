import type { Client } from './client.ts'
import type { Clock } from './clock.ts'
import { isKubeError } from './errors.ts'
import { formatMicroTime } from './lease.ts'
import { type AnyObject, EVENTS, type ObjectKey } from './resources.ts'

/**
 * Kubernetes Events (events.k8s.io/v1) for people who look at an object. The same thing said again becomes a count on the first Event, written
 * at most once a minute; each object and the process as a whole may only say so much. Events are a courtesy: losing one must
 * never hold up or fail the work it speaks of, but the loss is reported.
 */

export type EventSubject = {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
}

export type KubeEvent = {
  readonly regarding: EventSubject
  readonly type: 'Normal' | 'Warning'
  /** Why, in CamelCase. */
  readonly reason: string
  /** What was done or failed, in CamelCase. */
  readonly action: string
  /** A sentence for people; cut at 1024 bytes. */
  readonly note: string
}

export type EventRecorder = AsyncDisposable & {
  /** Returns at once; the writing is done in the background, in order. */
  record(event: KubeEvent): void
}

export type EventOptions = {
  readonly client: Pick<Client, 'create' | 'patch'>
  /** Name of the controller, as in `mtafleet.io/operator`. */
  readonly controller: string
  /** Which of its processes, as in the name of the Pod. */
  readonly instance: string
  readonly clock: Clock
  /** An Event that was not written, and why; for logs and metrics. Must not throw. */
  readonly onLoss: (event: KubeEvent, why: 'QueueFull' | 'RateLimited' | Error) => void
}

const WAITING_LIMIT = 256
const REPEAT_WRITE_MILLIS = 60_000
const FORGET_MILLIS = 3_600_000
const LEDGER_LIMIT = 2048
/** New Events of one object: so many at once, and one more each minute. */
const SUBJECT_BURST = 20
const SUBJECT_REFILL_MILLIS = 60_000
const NOTE_BYTES = 1024

export type Entry = {
  /** The Event in the API server; undefined until it has been created. */
  readonly name: ObjectKey
  readonly count: number
  readonly writtenAt: number
  readonly seenAt: number
}
type Bucket = { readonly tokens: number; readonly at: number }

export type EventVerdict =
  | { readonly kind: 'create'; readonly name: ObjectKey }
  | { readonly kind: 'repeat'; readonly name: ObjectKey; readonly count: number }
  | { readonly kind: 'counted' }
  | { readonly kind: 'limited' }

/** What has been said lately, and how much more may be said. Bounded: the longest unseen is forgotten first. Pure but for its own state. */
export class EventLedger {
  readonly #entries = new Map<string, Entry>()
  readonly #buckets = new Map<string, Bucket>()

  /** `fresh` names a new Event, should one be needed. */
  judge(event: KubeEvent, now: number, fresh: ObjectKey): EventVerdict {
    const key = sameness(event)
    const entry = this.#entries.get(key)
    if (entry === undefined || now - entry.seenAt > FORGET_MILLIS) return this.#first(event, key, now, fresh)
    const due = now - entry.writtenAt >= REPEAT_WRITE_MILLIS
    const count = entry.count + 1
    this.#remember(key, { ...entry, count, seenAt: now, writtenAt: due ? now : entry.writtenAt })
    return due ? { kind: 'repeat', name: entry.name, count } : { kind: 'counted' }
  }

  /** The Event is not in the API server after all: the next of its kind is the first again. */
  forget(event: KubeEvent): void {
    this.#entries.delete(sameness(event))
  }

  #first(event: KubeEvent, key: string, now: number, name: ObjectKey): EventVerdict {
    if (!this.#takeToken(subjectKey(event.regarding), now)) return { kind: 'limited' }
    this.#remember(key, { name, count: 1, writtenAt: now, seenAt: now })
    return { kind: 'create', name }
  }

  #takeToken(subject: string, now: number): boolean {
    const { tokens, at } = this.#buckets.get(subject) ?? { tokens: SUBJECT_BURST, at: now }
    const filled = Math.min(SUBJECT_BURST, tokens + (now - at) / SUBJECT_REFILL_MILLIS)
    const granted = filled >= 1
    keepNewest(this.#buckets, subject, { tokens: granted ? filled - 1 : filled, at: now })
    return granted
  }

  #remember(key: string, entry: Entry): void {
    keepNewest(this.#entries, key, entry)
  }
}

function keepNewest<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= LEDGER_LIMIT) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}

const subjectKey = ({ kind, namespace, name, uid }: EventSubject): string => [kind, namespace, name, uid].join('\n')
const sameness = (event: KubeEvent): string => [subjectKey(event.regarding), event.type, event.reason, event.action, event.note].join('\n')

export function openEvents(options: EventOptions): EventRecorder {
  return new BackgroundRecorder(options)
}

type Write = { readonly event: KubeEvent; readonly verdict: EventVerdict & { readonly kind: 'create' | 'repeat' } }

class BackgroundRecorder implements EventRecorder {
  readonly #options: EventOptions
  readonly #ledger = new EventLedger()
  readonly #waiting: Write[] = []
  readonly #stop = new AbortController()
  #writing: Promise<void> = Promise.resolve()
  #idle = true

  constructor(options: EventOptions) {
    this.#options = options
  }

  record(event: KubeEvent): void {
    const { clock, onLoss } = this.#options
    const name = `${event.regarding.name.slice(0, 220)}.${clock.wall().toString(16)}${Math.floor(clock.random() * 0x10000).toString(16)}`
    const verdict = this.#ledger.judge(event, clock.monotonic(), { namespace: event.regarding.namespace ?? 'default', name })
    if (verdict.kind === 'limited') return onLoss(event, 'RateLimited')
    if (verdict.kind === 'counted') return
    if (this.#waiting.length >= WAITING_LIMIT) {
      this.#ledger.forget(event)
      return onLoss(event, 'QueueFull')
    }
    this.#waiting.push({ event, verdict })
    if (this.#idle) this.#writing = this.#writeAll()
  }

  /** What waits is written first, for as long as one call may take. */
  async [Symbol.asyncDispose](): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(), 3000)
    await this.#writing
    clearTimeout(timer)
  }

  async #writeAll(): Promise<void> {
    this.#idle = false
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        await this.#write(next)
      } catch (error) {
        this.#ledger.forget(next.event)
        this.#options.onLoss(next.event, error instanceof Error ? error : new Error(String(error)))
      }
    }
    this.#idle = true
  }

  async #write({ event, verdict }: Write): Promise<void> {
    const { client, clock } = this.#options
    const call = { signal: this.#stop.signal }
    if (verdict.kind === 'create') {
      await client.create(EVENTS, this.#build(event, verdict.name), call)
      return
    }
    const series = { count: verdict.count, lastObservedTime: formatMicroTime(clock.wall()) }
    try {
      await client.patch(EVENTS, verdict.name, { series }, call)
    } catch (error) {
      // Events live for an hour: the first may be gone while the thing still happens.
      if (!isKubeError(error, 'notFound')) throw error
      await client.create(EVENTS, this.#build(event, verdict.name), call)
    }
  }

  #build(event: KubeEvent, { name, namespace = 'default' }: ObjectKey): AnyObject {
    const { controller, instance, clock } = this.#options
    return {
      metadata: { name, namespace },
      eventTime: formatMicroTime(clock.wall()),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      regarding: event.regarding,
      type: event.type,
      reason: event.reason,
      action: event.action,
      note: cutBytes(event.note, NOTE_BYTES),
    }
  }
}

/** Whole characters, at most so many bytes of UTF-8. */
export function cutBytes(text: string, most: number): string {
  if (Buffer.byteLength(text) <= most) return text
  let cut = text.slice(0, most)
  while (Buffer.byteLength(cut) > most - 3) cut = cut.slice(0, -1)
  return `${cut.toWellFormed().replace(/\uFFFD$/, '')}…`
}
