import type { AsideMessage, LogQueueStore, OfferedMessage } from '../../queue/log-queue.ts'
import { CorruptRecord } from '../../queue/record.ts'
import { haveOf, type Offer, planOffers } from '../follow.ts'
import type { Millis } from '../timers.ts'
import type { Link } from './link.ts'
import { Wakening } from './wakening.ts'

/**
 * What was set aside here, offered to the primary (R8): of each epoch in order, a pile at a time. What it takes comes back in its log, and the store
 * lets go of it when that is durable here. What must never happen: one is let go of because it was sent.
 */

export type OffersOptions = {
  readonly link: Link
  readonly store: Pick<LogQueueStore, 'aside' | 'readAside' | 'epochTable'>
  readonly epoch: number
}

const PILE_MESSAGES = 64
const PILE_BYTES = 8 * 2 ** 20
/** Another standby may be offering the same: what it was first with comes in the log. */
const AGAIN_AFTER: Millis = 1_000

export class Offers {
  readonly #options: OffersOptions
  readonly #wakening = new Wakening()
  #isRefused = false
  #isStopped = false

  constructor(options: OffersOptions) {
    this.#options = options
  }

  /** Entries of the primary are durable here. */
  wake(): void {
    this.#wakening.wake()
  }

  notTaken(): void {
    this.#isRefused = true
    this.#wakening.wake()
  }

  stop(): void {
    this.#isStopped = true
    this.#wakening.wake()
  }

  /** Until it is stopped; then nothing more is sent. Rejects when the link does. */
  async run(): Promise<void> {
    const { store } = this.#options
    while (!this.#isStopped) {
      this.#isRefused = false
      const sent = await this.#offerAll(planOffers(store.aside(), store.epochTable()))
      if (sent === 'nothing') await this.#wakening.wait()
      else if (this.#isRefused) await this.#wakening.wait(AGAIN_AFTER)
    }
  }

  /** 'nothing': there is none, or none that could be read. */
  async #offerAll(offers: readonly Offer<AsideMessage>[]): Promise<'something' | 'nothing'> {
    let sent: 'something' | 'nothing' = 'nothing'
    for (const { epoch, from, messages } of offers) {
      let next = from
      for (const pile of piles(messages)) {
        const before = next
        for (const message of pile) next = await this.#send(message, next)
        if (next > before) sent = 'something'
        while (!this.#isOver() && haveOf(this.#options.store.epochTable(), epoch) < next - 1) await this.#wakening.wait()
        if (this.#isOver()) return sent
      }
    }
    return sent
  }

  #isOver(): boolean {
    return this.#isStopped || this.#isRefused
  }

  /** Where the next one goes on. One that is damaged cannot be offered; it goes with the range that it lies in. */
  async #send({ queueId, origin }: AsideMessage, from: number): Promise<number> {
    const { link, store, epoch } = this.#options
    const message = readable(() => store.readAside(queueId))
    if (message === undefined) return from
    link.send(epoch, { kind: 'offer', from, message })
    await link.drained()
    return origin.sequence + 1
  }
}

function readable(read: () => OfferedMessage): OfferedMessage | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof CorruptRecord) return undefined
    throw error
  }
}

function* piles(messages: readonly AsideMessage[]): Generator<readonly AsideMessage[]> {
  let pile: AsideMessage[] = []
  let bytes = 0
  for (const message of messages) {
    pile.push(message)
    bytes += message.sizeBytes
    if (pile.length < PILE_MESSAGES && bytes < PILE_BYTES) continue
    yield pile
    pile = []
    bytes = 0
  }
  if (pile.length > 0) yield pile
}
