import type { LogQueueStore } from '../../queue/log-queue.ts'
import { partingPoint } from '../follow.ts'
import { receiveCopy } from './copy-receiver.ts'
import { LinkFault } from './frames.ts'
import { type Link, unexpected } from './link.ts'
import { type Entries, type Start, VERSIONS } from './messages.ts'
import { Offers } from './offers.ts'

/**
 * The standby's end of a log link: takes the primary's log for its own. What must never happen: a confirmation of what is not fsynced here,
 * an entry out of order, an end of this link while a change of it is still under way.
 */

/** Received and not yet durable. The primary's window is as large; one that does not keep to it waits. */
const PENDING_BYTES = 32 * 2 ** 20

export type FollowerStore = Pick<
  LogQueueStore,
  | 'lastSequence'
  | 'applyEntries'
  | 'epochTable'
  | 'isComplete'
  | 'cutsTo'
  | 'joinEpoch'
  | 'beginCopy'
  | 'aside'
  | 'readAside'
  | 'setCommitted'
  | 'room'
>

export type ReceiverOptions = {
  readonly link: Link
  readonly store: FollowerStore
  readonly epoch: number
  readonly token: string
  /** `seen` is on the disk and the tail is cut: this copy follows from now on. */
  readonly onJoined: (joined: { readonly complete: boolean }) => void
  /** The full copy is whole, on the disk. */
  readonly onCompleted: () => void
}

/** Until the link ends; then nothing of it is under way any more. Rejects when it breaks, with LinkFault, and with what the store could not do. */
export async function runReceiver(options: ReceiverOptions): Promise<void> {
  const { link } = options
  const receiver = new Receiver(options)
  try {
    await receiver.run()
  } finally {
    link.close()
    await receiver.settled()
  }
}

class Receiver {
  readonly #options: ReceiverOptions
  readonly #failed = Promise.withResolvers<never>()
  readonly #offers: Offers
  readonly #applying = new Set<Promise<void>>()
  #pendingBytes = 0
  #committed = 0
  /** Told to be durable here. */
  #confirmed = -1

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#offers = new Offers(options)
    this.#failed.promise.catch(() => undefined)
  }

  async run(): Promise<void> {
    const { link, store, epoch, token } = this.#options
    link.send(epoch, {
      kind: 'hello',
      versions: VERSIONS,
      token,
      table: store.epochTable(),
      complete: store.isComplete(),
      cutsTo: store.cutsTo(),
      aside: store.aside().length,
    })
    const start = await link.expect('start', epoch)
    if (start.with.kind === 'entries') await this.#join(start, start.with.from)
    else await this.#copy(start, start.with)
    this.#confirm()
    await Promise.race([this.#takeEntries(), this.#offers.run(), this.#failed.promise])
  }

  /** Where the logs part is found by both sides, and must be the same: everything else would leave entries that the primary lacks. */
  async #join({ table, forcedEpoch }: Start, from: number): Promise<void> {
    const { store, epoch, onJoined } = this.#options
    const parting = partingPoint(store.epochTable(), table)
    if (from !== parting + 1) throw new LinkFault(`entries must begin at ${parting + 1}, where the logs part, were to begin at ${from}`)
    await store.joinEpoch({ epoch, parting, forcedEpoch })
    onJoined({ complete: true })
  }

  async #copy(
    { table, forcedEpoch }: Start,
    { sequence, totals, handled, notes }: Extract<Start['with'], { kind: 'fullCopy' }>,
  ): Promise<void> {
    const { link, store, epoch, onJoined, onCompleted } = this.#options
    const target = await store.beginCopy({ epoch, forcedEpoch, state: { table, sequence, totals, handled, notes: new Map(notes) } })
    onJoined({ complete: false })
    await receiveCopy(link, epoch, target)
    onCompleted()
  }

  async #takeEntries(): Promise<void> {
    const { link, epoch } = this.#options
    for (;;) {
      const message = await link.next(epoch)
      if (message === undefined) return
      if (message.kind === 'notTaken') {
        this.#offers.notTaken()
        continue
      }
      if (message.kind !== 'entries') throw unexpected('entries', message)
      this.#committed = Math.max(this.#committed, message.committed)
      if (message.entries.length === 0) this.#noteCommitted()
      else this.#apply(message)
      while (this.#pendingBytes >= PENDING_BYTES) await Promise.race(this.#applying)
    }
  }

  /** Several at a time: the store puts what waits into one commit, in order. The first that fails ends the link. */
  #apply({ entries }: Entries): void {
    const bytes = entries.reduce((sum, { record, content }) => sum + record.length + (content?.length ?? 0), 0)
    this.#pendingBytes += bytes
    const applied = this.#options.store
      .applyEntries(entries)
      .then(() => {
        this.#noteCommitted()
        this.#confirm()
        this.#offers.wake()
      }, this.#failed.reject)
      .finally(() => {
        this.#pendingBytes -= bytes
        this.#applying.delete(applied)
      })
    this.#applying.add(applied)
  }

  /** Once for what has become durable in one commit, however many batches it came in. */
  #confirm(): void {
    const { link, store, epoch } = this.#options
    const sequence = store.lastSequence()
    if (sequence === this.#confirmed) return
    this.#confirmed = sequence
    link.send(epoch, { kind: 'confirm', sequence, complete: store.isComplete() })
  }

  #noteCommitted(): void {
    const { store } = this.#options
    store.setCommitted(Math.min(this.#committed, store.lastSequence()))
  }

  async settled(): Promise<void> {
    this.#offers.stop()
    await Promise.all(this.#applying)
  }
}
