import type { RoleEvent } from '../agent-state.ts'
import { LinkFault } from '../log-link/frames.ts'
import type { Millis } from '../timers.ts'
import { readSession } from './beacon-link.ts'
import type { BeaconMessage } from './beacon-messages.ts'
import { type FoundPrimary, isSocketError } from './find-primary.ts'
import type { FromCoordinator, ToCoordinator } from './messages.ts'

/**
 * The session of a standby with its primary, from the welcome until the main thread has let go of the log link too. What must never happen: the
 * role machine taken for a follower whose log is not cut, or for one that still cuts when it does not.
 *
 *   free ──welcome──▶ joining ──logJoined──▶ joined ──either link ends──▶ ending ──logLinkEnded──▶ free
 *                        └──either link ends──▶ ending ──(logJoined)── logLinkEnded──▶ free
 */

export type FollowedPorts = {
  readonly tell: (message: FromCoordinator) => void
  /** A link on which nothing came for so long has ended. */
  readonly silence: Millis
  readonly dispatch: (event: Undated) => void
  readonly onBroken: (error: unknown) => void
}

/** An event without its date. */
export type Undated = RoleEvent extends infer E ? (E extends { readonly at: Millis } ? Omit<E, 'at'> : never) : never

type Session = {
  readonly session: number
  readonly found: FoundPrimary
  isJoined: boolean
  isEnding: boolean
}

export class FollowedPrimary {
  readonly #ports: FollowedPorts
  #current: Session | undefined

  constructor(ports: FollowedPorts) {
    this.#ports = ports
  }

  /** Nothing is left of the session before. */
  get isFree(): boolean {
    return this.#current === undefined
  }

  /** Who is followed; undefined while the log is not cut, and when the session is ending. */
  get followed(): string | undefined {
    return this.#current?.isJoined && !this.#current.isEnding ? this.#current.found.peer.instance : undefined
  }

  begin(session: number, found: FoundPrimary): void {
    if (this.#current !== undefined) throw new Error('a standby must follow nobody when it begins to follow, did follow somebody')
    const current: Session = { session, found, isJoined: false, isEnding: false }
    this.#current = current
    const { epoch, peer, welcome } = found
    const { token, forcedEpoch } = welcome
    this.#ports.tell({ kind: 'follow', session, epoch, token, peer, forcedEpoch })
    this.#listen(current).then(
      (because) => this.#end(current, because),
      (error: unknown) => this.#ports.onBroken(error),
    )
  }

  send(epoch: number, message: BeaconMessage): void {
    const current = this.#current
    if (current && !current.isEnding && current.found.epoch === epoch) current.found.link.send(epoch, message)
  }

  onJoined({ session, epoch, complete }: Extract<ToCoordinator, { kind: 'logJoined' }>): void {
    const current = this.#current
    if (current?.session !== session) return
    current.isJoined = true
    this.#ports.dispatch({ kind: 'following', epoch, complete })
    if (current.isEnding) this.#ports.dispatch({ kind: 'sessionEnded' })
  }

  onLogEnded({ session, because }: Extract<ToCoordinator, { kind: 'logLinkEnded' }>): void {
    const current = this.#current
    if (current?.session !== session) return
    this.#current = undefined
    if (!current.isJoined) this.#ports.dispatch({ kind: 'joinFailed', epoch: current.found.epoch })
    if (current.isEnding) return
    current.isEnding = true
    if (because === 'DiskFull') sayLeaving(current)
    else current.found.link.close()
    this.#told(current, because === 'DiskFull' ? 'its disk is full' : 'the log link has ended')
    if (current.isJoined) this.#ports.dispatch({ kind: 'sessionEnded' })
  }

  /** This process ends: the primary need not find out by waiting. */
  leave(): void {
    const current = this.#current
    if (current === undefined || current.isEnding) return
    this.#end(current, 'stopped', 'leaving')
  }

  /** By this side. */
  end(because: string): void {
    if (this.#current) this.#end(this.#current, because)
  }

  #end(current: Session, because: string, how: 'now' | 'leaving' = 'now'): void {
    if (current.isEnding) return
    current.isEnding = true
    if (how === 'leaving') sayLeaving(current)
    else current.found.link.close()
    this.#told(current, because)
    this.#ports.tell({ kind: 'sessionEnded', session: current.session })
    if (current.isJoined) this.#ports.dispatch({ kind: 'sessionEnded' })
  }

  /** Why it ended. */
  async #listen(current: Session): Promise<string> {
    const { link, epoch } = current.found
    try {
      for await (const message of readSession(link, epoch, this.#ports.silence)) {
        if (current.isEnding) break
        if (message.kind === 'beacon') this.#ports.dispatch({ kind: 'beacon', epoch, number: message.number })
        else if (message.kind === 'over') this.#ports.dispatch({ kind: 'over', epoch })
        else throw new LinkFault(`a primary must send beacons, said ${message.kind}`)
      }
      return 'ended by the primary'
    } catch (error) {
      if (!(error instanceof LinkFault || isSocketError(error))) throw error
      return error.message
    }
  }

  #told(current: Session, because: string): void {
    const facts = { primary: current.found.peer.instance, epoch: current.found.epoch, because }
    this.#ports.tell({ kind: 'told', level: 'info', message: 'follows no longer', facts })
  }
}

/** The last word of a session, which must still leave. */
function sayLeaving({ found: { link, epoch } }: Session): void {
  link.send(epoch, { kind: 'leaving' })
  link.end()
}
