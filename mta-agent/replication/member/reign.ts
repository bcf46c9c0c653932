import { parseQueueId, type QueueId } from '../../domain/queue-id.ts'
import { NotLeading } from '../../queue/log-queue.ts'
import {
  type Delivery,
  type DeliveryResult,
  type DestinationRoom,
  type Millis,
  type NewMessage,
  NotCommitted,
  QueueFull,
  type QueueStore,
} from '../../queue/queue-store.ts'
import { Acknowledgements, type Committed } from './acknowledgements.ts'

/**
 * The queue during one reign of this instance, as submission and delivery see it. What must never happen: an entry written, or a 250, for a
 * reign that has ended; a delivery that stays taken by a scheduler that is no more.
 */

export type ReignOptions = {
  readonly epoch: number
  readonly store: QueueStore
  /** A message was acknowledged that no other copy has. */
  readonly onAlone: (queueId: QueueId) => void
  /** What came of an attempt is not written down, as the reign has ended or hands over on a full disk: the next primary tries these again. */
  readonly onUnrecorded: (result: DeliveryResult) => void
}

export class Reign {
  readonly epoch: number
  readonly #options: ReignOptions
  readonly #acknowledgements = new Acknowledgements()
  readonly #taken = new Set<string>()
  readonly #appending = new Set<Promise<unknown>>()
  #state: 'open' | 'closed' | 'ended' = 'open'

  constructor(options: ReignOptions) {
    this.#options = options
    this.epoch = options.epoch
  }

  note(committed: Committed): void {
    this.#acknowledgements.note(committed)
  }

  committed(): number {
    return this.#acknowledgements.sequence()
  }

  async append(message: NewMessage): Promise<QueueId> {
    if (this.#state !== 'open') throw new NotCommitted('NotPrimary')
    const queueId = await this.#store(message)
    const how = await this.#acknowledgements.wait(parseQueueId(queueId).sequence)
    if (how === 'alone') this.#options.onAlone(queueId)
    return queueId
  }

  async #store(message: NewMessage): Promise<QueueId> {
    const appending = this.#options.store.append(message)
    this.#appending.add(appending)
    try {
      return await appending
    } catch (error) {
      throw error instanceof NotLeading ? new NotCommitted('NotPrimary') : error
    } finally {
      this.#appending.delete(appending)
    }
  }

  /** Takes nothing new in; called off by `reopen`. Resolves when what was being stored is in the log or refused. */
  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed'
    await Promise.allSettled(this.#appending)
  }

  reopen(): void {
    if (this.#state === 'closed') this.#state = 'open'
  }

  isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Resolves when the entry is committed in whatever sense, or the reign has ended. */
  async reached(sequence: number): Promise<'committed' | 'ended'> {
    await this.#acknowledgements.wait(sequence).catch((error: unknown) => {
      if (!(error instanceof NotCommitted)) throw error
    })
    return this.#hasEnded() ? 'ended' : 'committed'
  }

  /** At once, and for good. The store takes back what was given out. */
  end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#acknowledgements.end()
    this.#taken.clear()
  }

  /** For delivery. Disposing it does nothing: the store is not this reign's. */
  queue(): QueueStore {
    const { store, onUnrecorded } = this.#options
    return {
      append: (message) => this.append(message),
      takeDue: (now, limit, room) => this.#take(() => store.takeDue(now, limit, room)),
      takeExpired: (acceptedBefore, limit) => this.#take(() => store.takeExpired(acceptedBefore, limit)),
      nextDueAt: (room?: DestinationRoom): Millis | undefined => (this.#hasEnded() ? undefined : store.nextDueAt(room)),
      onDue: (listener) => store.onDue(listener),
      release: (deliveries) => {
        const taken = deliveries.filter((delivery) => this.#taken.delete(nameOf(delivery)))
        if (taken.length > 0) store.release(taken)
      },
      settle: async (result, report) => {
        if (!this.#taken.delete(nameOf(result))) return onUnrecorded(result)
        try {
          await store.settle(result, report)
        } catch (error) {
          if (!(error instanceof NotLeading || error instanceof QueueFull)) throw error
          onUnrecorded(result)
        }
      },
      readMessage: (queueId) => store.readMessage(queueId),
      readContent: (queueId) => store.readContent(queueId),
      totals: () => store.totals(),
      room: (sizeBytes) => store.room(sizeBytes),
      // The store outlives the reign, and whoever ends the process ends its waiting.
      stopWaiting: () => undefined,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  }

  #hasEnded(): boolean {
    return this.#state === 'ended'
  }

  #take(take: () => readonly Delivery[]): readonly Delivery[] {
    if (this.#hasEnded()) return []
    const deliveries = take()
    for (const delivery of deliveries) this.#taken.add(nameOf(delivery))
    return deliveries
  }
}

const nameOf = ({ queueId, destination }: { readonly queueId: QueueId; readonly destination: string }): string =>
  `${queueId} ${destination}`
