import type { TLSSocket } from 'node:tls'
import type { Copy } from '../../contract/record.ts'
import type { ToCoordinator } from '../coordinator/messages.ts'
import { LinkFault } from '../log-link/frames.ts'
import { Link } from '../log-link/link.ts'
import { LogSender, type SourceStore } from '../log-link/sender.ts'
import type { Millis } from '../timers.ts'

/**
 * The primary's log links: each belongs to a session that the coordinator has named, and proves it by the token. What must never happen: a link
 * without a session, or a session whose end is not said exactly once.
 */

export type ReignFacts = { readonly epoch: number; readonly forcedEpoch: number }

export type PrimarySessionsOptions = {
  readonly store: SourceStore
  readonly committed: () => number
  readonly post: (message: ToCoordinator) => void
  readonly onEnd: (facts: { readonly instance: string; readonly error?: unknown }) => void
  readonly clock: () => Millis
}

type Session = {
  readonly session: number
  readonly reign: ReignFacts
  readonly copy: Copy
  readonly token: string
  link?: Link
  sender?: LogSender
}

/** From the connection to its first message. */
const HELLO_MILLIS: Millis = 5_000

export class PrimarySessions {
  readonly #options: PrimarySessionsOptions
  readonly #sessions = new Map<number, Session>()

  constructor(options: PrimarySessionsOptions) {
    this.#options = options
  }

  open(session: { readonly session: number; readonly copy: Copy; readonly token: string }, reign: ReignFacts): void {
    this.#sessions.set(session.session, { ...session, reign })
  }

  /** Ends its link, if there is one yet. Nothing for one that has ended. */
  close(session: number): void {
    const found = this.#sessions.get(session)
    if (!found) return
    if (found.link) found.link.close()
    else this.#ended(found)
  }

  closeAll(): void {
    for (const session of [...this.#sessions.keys()]) this.close(session)
  }

  /** Entries became durable or committed. */
  wake(): void {
    for (const { sender } of this.#sessions.values()) sender?.wake()
  }

  /** The lowest sequence that somebody still needs; Infinity when nobody follows. */
  neededFrom(): number {
    return Math.min(...[...this.#sessions.values()].map(({ sender }) => sender?.needsFrom() ?? Infinity))
  }

  /** A connection from an instance that has proved its name. Resolves when it has ended; never rejects. */
  async serve(socket: TLSSocket, instance: string): Promise<void> {
    const link = new Link(socket)
    let session: Session | undefined
    try {
      const late = setTimeout(() => link.close(), HELLO_MILLIS)
      const first = await link.first().finally(() => clearTimeout(late))
      if (first === undefined) return
      const { epoch, message } = first
      if (message.kind !== 'hello') throw new LinkFault(`the first message must be a hello, was a ${message.kind}`)
      session = this.#admit(link, { instance, epoch, token: message.token })
      await session.sender?.run(message)
      this.#options.onEnd({ instance })
    } catch (error) {
      this.#options.onEnd({ instance, error })
    } finally {
      link.end()
      if (session) this.#ended(session)
    }
  }

  #admit(link: Link, who: { readonly instance: string; readonly epoch: number; readonly token: string }): Session {
    const session = [...this.#sessions.values()].find(({ token }) => token === who.token)
    if (!session || session.link || session.copy.instance !== who.instance) {
      const text = `the token must be of a session of ${who.instance} without a log link, was not`
      link.send(who.epoch, { kind: 'refused', because: 'UnknownToken', text })
      throw new LinkFault(text)
    }
    const { reign } = session
    if (who.epoch !== reign.epoch) {
      const text = `the session must be of epoch ${reign.epoch}, was of ${who.epoch}`
      link.send(who.epoch, { kind: 'refused', because: 'OtherEpoch', text })
      throw new LinkFault(text)
    }
    const { store, committed, post, clock } = this.#options
    session.link = link
    session.sender = new LogSender({
      link,
      store,
      ...reign,
      committed,
      clock,
      onConfirmed: ({ sequence, complete }) => post({ kind: 'confirmed', session: session.session, sequence, complete }),
    })
    return session
  }

  #ended({ session }: Session): void {
    if (this.#sessions.delete(session)) this.#options.post({ kind: 'logLinkEnded', session })
  }
}
