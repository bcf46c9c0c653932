import type { RoleEffect } from '../agent-state.ts'
import { judgeOffer, partingPoint, planCatchUp, planOffers } from '../follow.ts'
import { type Copy, keyOf } from '../record.ts'
import { committed, judgeFollow } from '../role.ts'
import type { Host } from './host.ts'
import type { Mail } from './mail.ts'
import type { ToPrimary, ToStandby } from './messages.ts'
import type { Connection } from './network.ts'
import type { Accepting } from './scene.ts'
import type { Entry, Snapshot } from './volume.ts'

type Follow = Extract<ToPrimary, { readonly kind: 'follow' }>
type Follower = { readonly copy: Copy; readonly connection: Connection }

/** The primary's end of its sessions: welcomes, ships, beacons, takes back (README.md, section 6). */
export class PrimaryEnd {
  readonly #followers = new Map<string, Follower>()
  readonly #host: Host
  readonly #mail: Mail

  constructor(host: Host, mail: Mail) {
    this.#host = host
    this.#mail = mail
  }

  accept(from: string): Accepting {
    const source = `from ${from}`
    let connection: Connection | undefined
    return {
      agent: this.#host.agent,
      joined: (made) => (connection = made),
      receive: (message) => this.#host.run(source, () => connection && this.#receive(connection, message)),
      closed: () => this.#host.run(source, () => connection && this.#left(connection)),
    }
  }

  #receive(connection: Connection, message: ToPrimary): void {
    if (message.kind === 'follow') {
      this.#welcome(connection, message)
      return
    }
    const copy = this.#copyOn(connection)
    if (!copy) return
    switch (message.kind) {
      case 'promise':
        this.#host.feed((at) => ({ kind: 'promised', at, copy, number: message.number }))
        this.#host.scene.moment(this.#host.scene.api.hasParked ? 'promisedWhileParked' : 'promised', this.#host.agent)
        return
      case 'confirm':
        this.#host.feed((at) => ({ kind: 'confirmed', at, copy, sequence: message.sequence, complete: message.complete }))
        return
      case 'leaving':
        this.#host.feed((at) => ({ kind: 'leaving', at, copy }))
        this.#host.scene.moment('leavingHeard', this.#host.agent)
        return
      case 'offer':
        if (judgeOffer(message.offer, this.#host.volume.table) === 'take') this.#mail.takeBack(message.offer.messages)
        return
    }
  }

  #welcome(connection: Connection, follow: Follow): void {
    const { state } = this.#host
    const answer = judgeFollow(state, follow.seen)
    if (answer === 'Behind') this.#host.feed((at) => ({ kind: 'higherEpoch', at, epoch: follow.seen }))
    if (answer !== 'welcome' || state.role.kind !== 'primary') {
      connection.close('primary')
      return
    }
    const { epoch } = state.role
    this.#followers.get(keyOf(follow.copy))?.connection.close('primary')
    this.#followers.set(keyOf(follow.copy), { copy: follow.copy, connection })
    this.#host.feed((at) => ({ kind: 'followed', at, copy: follow.copy }))
    const { log, table } = this.#host.volume
    const { from, parting, snapshot } = this.#planJoin(follow)
    const forcedEpoch = state.view.known?.forcedEpoch ?? 0
    connection.toStandby({ kind: 'welcome', epoch, forcedEpoch, parting, table, snapshot, log: [...log] })
    if (log.length >= from) connection.toStandby({ kind: 'entries', entries: log.slice(from - 1) })
  }

  /** A full copy ends with what is committed, so whoever has one can still bring up every copy in the set by its log. */
  #planJoin(follow: Follow): { readonly from: number; readonly parting: number; readonly snapshot: Snapshot | undefined } {
    const { log, table, first } = this.#host.volume
    const parting = partingPoint(follow.table, table)
    const plan = planCatchUp(parting, first)
    if (follow.complete && plan.kind === 'entries') return { from: plan.from, parting, snapshot: undefined }
    const end = Math.max(committed(this.#host.state), first - 1)
    return { from: end + 1, parting: Math.min(parting, end), snapshot: { log: log.slice(0, end), table: this.#host.volume.tableAt(end) } }
  }

  ship(entry: Entry): void {
    this.#toAll({ kind: 'entries', entries: [entry] })
  }

  perform(effect: Extract<RoleEffect, { readonly kind: 'beacon' | 'sayOver' | 'stepDown' }>): void {
    if (effect.kind === 'beacon') this.#toAll(effect)
    else if (effect.kind === 'sayOver') this.#toAll({ kind: 'over', epoch: effect.epoch, last: effect.last })
    else this.#closeAll()
  }

  /** What this agent has set aside itself goes back in the same way. */
  takeOwnBack(): void {
    const { volume, state } = this.#host
    if (state.role.kind !== 'primary' || volume.aside.length === 0) return
    for (const offer of planOffers(volume.aside, volume.table)) {
      if (judgeOffer(offer, volume.table) === 'take') this.#mail.takeBack(offer.messages)
    }
  }

  #toAll(message: ToStandby): void {
    for (const { connection } of this.#followers.values()) connection.toStandby(message)
  }

  #closeAll(): void {
    for (const { connection } of this.#followers.values()) connection.close('primary')
    this.#followers.clear()
  }

  #left(connection: Connection): void {
    const copy = this.#copyOn(connection)
    if (!copy) return
    this.#followers.delete(keyOf(copy))
    this.#host.feed((at) => ({ kind: 'followerLeft', at, copy }))
  }

  #copyOn(connection: Connection): Copy | undefined {
    return [...this.#followers.values()].find((one) => one.connection === connection)?.copy
  }

  /** In order: the followers hear at once that nobody is there any more. */
  end(): void {
    this.#closeAll()
  }

  die(): void {
    for (const { connection } of this.#followers.values()) connection.break()
  }
}
