import { setTimeout as wait } from 'node:timers/promises'
import { QueueFull } from '../../queue/queue-store.ts'
import type { FromCoordinator, ToCoordinator } from '../coordinator/messages.ts'
import { Link } from '../log-link/link.ts'
import { type FollowerStore, runReceiver } from '../log-link/receiver.ts'
import type { PeerTls } from '../peer-tls.ts'
import type { Millis } from '../timers.ts'

/**
 * The standby's log link: one at a time, and the next only when nothing of the one before is under way. What must never happen: two that change
 * the store; a session whose end is not said exactly once.
 */

type Follow = Extract<FromCoordinator, { readonly kind: 'follow' }>

export type StandbySessionsOptions = {
  readonly store: FollowerStore
  readonly tls: PeerTls
  readonly post: (message: ToCoordinator) => void
  readonly onEnd: (facts: { readonly instance: string; readonly error?: unknown }) => void
}

const CONNECT_MILLIS: Millis = 5_000
/** How often it is looked whether there is room again. */
const ROOM_EVERY: Millis = 1_000

export class StandbySessions {
  readonly #options: StandbySessionsOptions
  readonly #open = new Map<number, AbortController>()
  #last: Promise<void> = Promise.resolve()
  /** A session ended because the disk was full, and there was no room since. */
  #wasFull = false

  constructor(options: StandbySessionsOptions) {
    this.#options = options
  }

  follow(follow: Follow): void {
    const closing = new AbortController()
    this.#open.set(follow.session, closing)
    this.#last = this.#last.then(() => this.#run(follow, closing.signal))
  }

  close(session: number): void {
    this.#open.get(session)?.abort()
  }

  /** Resolves when nothing of any session is under way. */
  async closeAll(): Promise<void> {
    for (const closing of this.#open.values()) closing.abort()
    await this.#last
  }

  /** Never rejects. */
  async #run(follow: Follow, signal: AbortSignal): Promise<void> {
    const { post, onEnd } = this.#options
    const { session, peer } = follow
    try {
      await this.#receive(follow, signal)
      onEnd({ instance: peer.instance })
    } catch (error) {
      if (error instanceof QueueFull) this.#wasFull = true
      onEnd({ instance: peer.instance, error })
    } finally {
      this.#open.delete(session)
      post({ kind: 'logLinkEnded', session, ...(this.#wasFull && { because: 'DiskFull' }) })
    }
  }

  /**
   * A disk that was full takes part again when it has room. Otherwise it would be taken for one that is near, and each time the primary would
   * make its clients wait for a confirmation that does not come.
   */
  async #awaitRoom(signal: AbortSignal): Promise<void> {
    while (this.#wasFull && this.#options.store.room(0) === 'full') await wait(ROOM_EVERY, undefined, { signal })
    this.#wasFull = false
  }

  async #receive({ session, epoch, token, peer }: Follow, signal: AbortSignal): Promise<void> {
    const { store, tls, post } = this.#options
    await this.#awaitRoom(signal)
    const to = { instance: peer.instance, address: peer.address, port: peer.logPort }
    const link = new Link(await tls.connect(to, { signal, deadlineMillis: CONNECT_MILLIS }))
    const close = (): void => link.close()
    signal.addEventListener('abort', close, { once: true })
    if (signal.aborted) close()
    try {
      await runReceiver({
        link,
        store,
        epoch,
        token,
        onCompleted: () => post({ kind: 'completed' }),
        onJoined: ({ complete }) => post({ kind: 'logJoined', session, epoch, complete }),
      })
    } finally {
      signal.removeEventListener('abort', close)
    }
  }
}
