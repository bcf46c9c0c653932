import { type Copy } from '#agent/contract/record.ts'
import type { BeaconLink } from './beacon-link.ts'
import type { BeaconMessage } from './beacon-messages.ts'
import type { FromCoordinator } from './messages.ts'

/** The sessions of a primary: who follows this reign, over which link. One for each instance; those of a reign end with it. */

export type FollowerSession = {
  readonly session: number
  readonly epoch: number
  readonly copy: Copy
  readonly link: BeaconLink
  readonly token: string
}

export class Followers {
  readonly #tell: (message: FromCoordinator) => void
  readonly #sessions = new Map<number, FollowerSession>()

  constructor(tell: (message: FromCoordinator) => void) {
    this.#tell = tell
  }

  add(follower: FollowerSession): void {
    const { session, epoch, copy, token } = follower
    this.#sessions.set(session, follower)
    // Before the follower can know the token: the main thread must have it when the log link comes.
    this.#tell({ kind: 'followerJoined', session, epoch, copy, token })
  }

  /** Undefined for a session that has ended: what still comes from it is nothing. */
  copyOf(session: number): Copy | undefined {
    return this.#sessions.get(session)?.copy
  }

  sessionOf(instance: string): number | undefined {
    return [...this.#sessions.values()].find(({ copy }) => copy.instance === instance)?.session
  }

  sendAll(epoch: number, message: BeaconMessage): void {
    for (const one of this.#sessions.values()) if (one.epoch === epoch) one.link.send(epoch, message)
  }

  /** What was sent is still said: `over` above all. */
  end(session: number): void {
    this.#sessions.get(session)?.link.end()
    if (this.#sessions.delete(session)) this.#tell({ kind: 'sessionEnded', session })
  }

  endAll(): void {
    for (const session of this.#sessions.keys()) this.end(session)
  }
}
