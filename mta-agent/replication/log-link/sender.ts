import type { LogQueueStore, StoredEntry } from '../../queue/log-queue.ts'
import type { Millis } from '../timers.ts'
import { sendCopy } from './copy-sender.ts'
import { LinkFault } from './frames.ts'
import { type Link, unexpected } from './link.ts'
import type { Confirm, Hello, Offered } from './messages.ts'
import { type FullCopyPlan, planStart } from './plan-start.ts'
import { Wakening } from './wakening.ts'

/**
 * The primary's end of a log link: sends the log from where the standby's ends, and hears how far it is on the standby's disk. What must
 * never happen: an entry is skipped; a confirmation counts for more than was sent; a slow standby fills the memory.
 */

/** Sent and not confirmed. Enough for 10 ms of a full 10 Gbit/s, little enough to be let go at once. */
const WINDOW_BYTES = 32 * 2 ** 20
const BATCH_ENTRIES = 256
/** How late a standby may hear what is committed, where no entries tell it. */
const COMMITTED_EVERY: Millis = 100

export type SourceStore = Pick<LogQueueStore, 'lastSequence' | 'firstSequence' | 'readLog' | 'epochTable' | 'openCopySource' | 'takeBack'>

export type SenderOptions = {
  readonly link: Link
  readonly store: SourceStore
  readonly epoch: number
  readonly forcedEpoch: number
  /** Confirmed by all that must. */
  readonly committed: () => number
  readonly onConfirmed: (confirm: Pick<Confirm, 'sequence' | 'complete'>) => void
  /** A full copy begins; for the log. */
  readonly onCopying?: (because: string) => void
  /** Monotonic. */
  readonly clock: () => Millis
}

export class LogSender {
  readonly #options: SenderOptions
  readonly #wakening = new Wakening()
  readonly #sent = new SentBytes(WINDOW_BYTES)
  readonly #failed = Promise.withResolvers<never>()
  #taking: Promise<void> = Promise.resolve()
  #confirmed = 0
  #next = Infinity
  #ended = false

  constructor(options: SenderOptions) {
    this.#options = options
    this.#failed.promise.catch(() => undefined)
  }

  /** Call it when entries became durable or committed. */
  wake(): void {
    this.#wakening.wake()
  }

  /** What the standby may still ask for: nothing from here on may be trimmed. */
  needsFrom(): number {
    return this.#confirmed + 1
  }

  /** Until the link ends. Rejects when it breaks, and with LinkFault when the other side did not keep to the protocol or was refused. */
  async run(hello: Hello): Promise<void> {
    const { link, store, epoch } = this.#options
    const plan = planStart(hello, { epoch, table: store.epochTable(), firstSequence: store.firstSequence() })
    if (plan.kind === 'refused') {
      link.send(epoch, plan)
      link.end()
      throw new LinkFault(`refused the standby: ${plan.because}: ${plan.text}`)
    }
    try {
      if (plan.kind === 'entries') this.#beginByLog(plan)
      else await this.#beginByCopy(plan)
      await Promise.race([this.#hear(), this.#send(), this.#failed.promise])
    } finally {
      this.#ended = true
      this.#wakening.wake()
      link.close()
    }
  }

  #beginByLog({ version, from }: { readonly version: number; readonly from: number }): void {
    const { link, store, epoch, forcedEpoch } = this.#options
    this.#goOnFrom(from)
    link.send(epoch, { kind: 'start', version, table: store.epochTable(), forcedEpoch, with: { kind: 'entries', from } })
  }

  async #beginByCopy({ version, because }: FullCopyPlan): Promise<void> {
    const { link, store, epoch, forcedEpoch, committed, onCopying } = this.#options
    using source = store.openCopySource()
    const { table, sequence, totals, handled, notes } = source.state
    // From here on nothing behind the copy is trimmed.
    this.#goOnFrom(sequence + 1)
    onCopying?.(because)
    link.send(epoch, {
      kind: 'start',
      version,
      table,
      forcedEpoch,
      with: { kind: 'fullCopy', sequence, totals, handled, notes: [...notes] },
    })
    await sendCopy(link, epoch, source)
    // It could not take back what it was given.
    while (committed() < sequence && !link.hasEnded()) await this.#wakening.wait(COMMITTED_EVERY)
    link.send(epoch, { kind: 'copied' })
  }

  #goOnFrom(sequence: number): void {
    this.#next = sequence
    this.#confirmed = sequence - 1
  }

  async #hear(): Promise<void> {
    const { link, epoch, onConfirmed } = this.#options
    for (;;) {
      const message = await link.next(epoch)
      if (message === undefined) return
      if (message.kind === 'offer') {
        this.#takeBack(message)
        continue
      }
      if (message.kind !== 'confirm') throw unexpected('a confirm or an offer', message)
      if (message.sequence < this.#confirmed || message.sequence >= this.#next) {
        throw new LinkFault(`a confirm must be of ${this.#confirmed} to ${this.#next - 1}, was of ${message.sequence}`)
      }
      this.#confirmed = message.sequence
      this.#sent.confirmed(message.sequence)
      onConfirmed(message)
      this.#wakening.wake()
    }
  }

  /** One after the other: each goes on where the one before has ended. What does not fit changes nothing, and is said. */
  #takeBack({ message, from }: Offered): void {
    const { link, store, epoch } = this.#options
    const take = async (): Promise<void> => {
      try {
        await store.takeBack(message, from)
        this.#wakening.wake()
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        link.send(epoch, { kind: 'notTaken', queueId: message.queueId, text: error.message })
      }
    }
    this.#taking = this.#taking.then(take)
    this.#taking.catch((error: unknown) => this.#failed.reject(error))
  }

  async #send(): Promise<void> {
    const { link, store, epoch, committed, clock } = this.#options
    let told = { committed: 0, at: clock() }
    const say = (entries: readonly StoredEntry[]): void => {
      told = { committed: committed(), at: clock() }
      link.send(epoch, { kind: 'entries', committed: told.committed, entries })
    }
    while (!this.#ended) {
      if (this.#sent.hasRoom() && this.#next <= store.lastSequence()) {
        const entries = store.readLog(this.#next, BATCH_ENTRIES)
        this.#next += entries.length
        this.#sent.sent(entries)
        say(entries)
        await link.drained()
        continue
      }
      const untold = committed() > told.committed
      const dueIn = told.at + COMMITTED_EVERY - clock()
      if (untold && dueIn <= 0) say([])
      else await this.#wakening.wait(untold ? dueIn : undefined)
    }
  }
}

/** Bytes of the entries that were sent and not confirmed, in the batches in which they were sent. */
class SentBytes {
  readonly #capacity: number
  readonly #batches: { readonly last: number; readonly bytes: number }[] = []
  #bytes = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  hasRoom(): boolean {
    return this.#bytes < this.#capacity
  }

  sent(entries: readonly StoredEntry[]): void {
    const bytes = entries.reduce((sum, { record, content }) => sum + record.length + (content?.length ?? 0), 0)
    this.#batches.push({ last: entries.at(-1)!.sequence, bytes })
    this.#bytes += bytes
  }

  confirmed(sequence: number): void {
    while (this.#batches.length > 0 && this.#batches[0]!.last <= sequence) this.#bytes -= this.#batches.shift()!.bytes
  }
}
