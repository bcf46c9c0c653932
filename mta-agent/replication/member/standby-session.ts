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

export class StandbySessions {
  readonly #options: StandbySessionsOptions
  readonly #open = new Map<number, AbortController>()
  #last: Promise<void> = Promise.resolve()

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
      onEnd({ instance: peer.instance, error })
    } finally {
      this.#open.delete(session)
      post({ kind: 'logLinkEnded', session })
    }
  }

  async #receive({ session, epoch, token, peer }: Follow, signal: AbortSignal): Promise<void> {
    const { store, tls, post } = this.#options
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
