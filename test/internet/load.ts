import { setTimeout as sleep } from 'node:timers/promises'
import { buildLoadMessage, type LoadMessage, type MessageMix } from './load-message.ts'
import { type AttemptResult, openSubmission, type SubmissionClient, type SubmissionServer } from './submission-client.ts'

/**
 * A load client with honest books: a message is accepted only when its 250 was read. What was deferred, or cut off, is tried again as the same
 * message until the signal says stop; an attempt whose end was not learnt is counted, for that message may arrive once more.
 */
export type LoadOptions = {
  readonly server: SubmissionServer
  readonly mix: MessageMix
  /** How many messages; until the signal fires when absent. */
  readonly count?: number
  readonly connections: number
  /** Messages begun per second, over all connections; as fast as it goes when absent. */
  readonly perSecond?: number
  /** A connection is closed after so many messages; kept as long as it lives when absent. */
  readonly messagesPerConnection?: number
  /** Pause before a message is tried again: doubles from `first` to `most`. */
  readonly backOffMillis?: { readonly first: number; readonly most: number }
  readonly onAccepted?: (accepted: Accepted) => void
  readonly onProgress?: (progress: Progress) => void
}

export type Accepted = {
  readonly messageId: string
  readonly recipients: readonly string[]
  readonly size: number
  readonly bodyHash: string
  /** From the text of the 250, null where it names none. */
  readonly queueId: string | null
  readonly reply: string
  readonly attempts: number
  readonly ambiguousAttempts: number
  /** ISO 8601. */
  readonly acceptedAt: string
}
export type NotAccepted = Pick<Accepted, 'messageId' | 'recipients' | 'size' | 'bodyHash' | 'attempts' | 'ambiguousAttempts'> & {
  /** What was heard last. */
  readonly reply: string
}
export type Progress = {
  readonly accepted: number
  readonly refused: number
  readonly attempts: number
  readonly deferred: number
  readonly ambiguous: number
  /** What was said to the last attempt that was put off; empty when none was. */
  readonly lastDeferral: string
}
export type LoadResult = {
  readonly accepted: readonly Accepted[]
  /** 5yz: given up. One entry per message, with the recipients concerned. */
  readonly refused: readonly NotAccepted[]
  /** Not accepted when told to stop. With ambiguousAttempts they may arrive all the same. */
  readonly unfinished: readonly NotAccepted[]
  readonly progress: Progress
  readonly elapsedMillis: number
}

/** After the stop signal a message under way may still get its reply for so long. */
const GRACE_MILLIS = 5000

/** Runs until all messages are accepted or refused, or `stop` fires. Never rejects for what a server does. */
export async function runLoad(options: LoadOptions, stop: AbortSignal): Promise<LoadResult> {
  const run = new Load(options, stop)
  const began = performance.now()
  await Promise.all(Array.from({ length: options.connections }, () => run.work()))
  return { ...run.books(), elapsedMillis: Math.round(performance.now() - began) }
}

type Open = { readonly message: LoadMessage; recipients: readonly string[]; attempts: number; ambiguousAttempts: number; lastReply: string }

class Load {
  readonly #options: LoadOptions
  readonly #stop: AbortSignal
  /** Fires a grace after stop. */
  readonly #cut = new AbortController()
  readonly #began = performance.now()
  readonly #accepted: Accepted[] = []
  readonly #refused: NotAccepted[] = []
  readonly #unfinished: NotAccepted[] = []
  #next = 0
  #attempts = 0
  #deferred = 0
  #ambiguous = 0
  #lastDeferral = ''

  constructor(options: LoadOptions, stop: AbortSignal) {
    this.#options = options
    this.#stop = stop
  }

  async work(): Promise<void> {
    let client: SubmissionClient | undefined
    const stopped = (): void => void setTimeout(() => this.#cut.abort(new Error('told to stop')), GRACE_MILLIS).unref()
    this.#stop.addEventListener('abort', stopped, { once: true })
    try {
      let onThisConnection = 0
      for (let open = await this.#take(); open !== undefined; open = await this.#take()) {
        const used = client
        client = await this.#settle(open, client)
        onThisConnection = client === used ? onThisConnection + 1 : 1
        if (onThisConnection >= (this.#options.messagesPerConnection ?? Infinity)) {
          await client?.[Symbol.asyncDispose]()
          client = undefined
        }
      }
    } finally {
      this.#stop.removeEventListener('abort', stopped)
      await client?.[Symbol.asyncDispose]()
    }
  }

  books(): Omit<LoadResult, 'elapsedMillis'> {
    return { accepted: this.#accepted, refused: this.#refused, unfinished: this.#unfinished, progress: this.#progress() }
  }

  async #take(): Promise<Open | undefined> {
    const { count, perSecond, mix } = this.#options
    if (this.#stop.aborted || (count !== undefined && this.#next >= count)) return undefined
    const number = this.#next
    this.#next += 1
    const due = perSecond === undefined ? 0 : (number / perSecond) * 1000 - (performance.now() - this.#began)
    if (due > 0) await pause(due, this.#stop)
    // Not begun is not unfinished: its number simply does not exist.
    if (this.#stop.aborted) return undefined
    const message = buildLoadMessage(mix, number)
    return { message, recipients: message.recipients, attempts: 0, ambiguousAttempts: 0, lastReply: '' }
  }

  /** Tries until every recipient of the message is accepted or refused, or it is told to stop. */
  async #settle(open: Open, before: SubmissionClient | undefined): Promise<SubmissionClient | undefined> {
    const { first, most } = this.#options.backOffMillis ?? { first: 100, most: 5000 }
    let client = before
    for (let wait = first; ; wait = Math.min(most, wait * 2)) {
      if (client?.usable !== true) client = await this.#connect(open)
      if (client !== undefined) {
        open.attempts += 1
        this.#attempts += 1
        this.#note(open, await client.attempt(open.message, open.recipients, this.#cut.signal))
        this.#options.onProgress?.(this.#progress())
        if (open.recipients.length === 0) return client
      }
      if (this.#stop.aborted) break
      await pause(wait, this.#stop)
      if (this.#stop.aborted) break
    }
    this.#unfinished.push(notAccepted(open, open.recipients))
    return client
  }

  async #connect(open: Open): Promise<SubmissionClient | undefined> {
    try {
      return await openSubmission(this.#options.server, this.#stop)
    } catch (error) {
      open.lastReply = (error as Error).message
      this.#lastDeferral = open.lastReply
      this.#deferred += 1
      this.#options.onProgress?.(this.#progress())
      return undefined
    }
  }

  #note(open: Open, result: AttemptResult): void {
    open.lastReply = result.reply
    switch (result.kind) {
      case 'accepted': {
        const accepted = acceptedOf(open, result)
        this.#accepted.push(accepted)
        for (const { recipient, reply } of result.refused) this.#refused.push({ ...notAccepted(open, [recipient]), reply })
        open.recipients = result.deferred
        this.#options.onAccepted?.(accepted)
        return
      }
      case 'refused':
        this.#refused.push(notAccepted(open, open.recipients))
        open.recipients = []
        return
      case 'deferred':
        this.#deferred += 1
        this.#lastDeferral = result.reply
        return
      case 'ambiguous':
        this.#ambiguous += 1
        open.ambiguousAttempts += 1
    }
  }

  #progress(): Progress {
    return {
      accepted: this.#accepted.length,
      refused: this.#refused.length,
      attempts: this.#attempts,
      deferred: this.#deferred,
      ambiguous: this.#ambiguous,
      lastDeferral: this.#lastDeferral,
    }
  }
}

function acceptedOf(open: Open, result: Extract<AttemptResult, { kind: 'accepted' }>): Accepted {
  return {
    messageId: open.message.messageId,
    recipients: result.recipients,
    size: open.message.content.length,
    bodyHash: open.message.bodyHash,
    queueId: /queued as (\S+)/i.exec(result.reply)?.[1] ?? null,
    reply: result.reply,
    attempts: open.attempts,
    ambiguousAttempts: open.ambiguousAttempts,
    acceptedAt: new Date().toISOString(),
  }
}

function notAccepted(open: Open, recipients: readonly string[]): NotAccepted {
  return {
    messageId: open.message.messageId,
    recipients,
    size: open.message.content.length,
    bodyHash: open.message.bodyHash,
    attempts: open.attempts,
    ambiguousAttempts: open.ambiguousAttempts,
    reply: open.lastReply,
  }
}

/** Ends early, without complaint, when the signal fires: the caller looks at the signal. */
async function pause(millis: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(millis, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
