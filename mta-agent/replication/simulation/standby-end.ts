import { advanceTable, haveOf, type EpochTable, planOffers } from '../follow.ts'
import type { Host } from './host.ts'
import type { ToStandby } from './messages.ts'
import type { Connection } from './network.ts'
import type { Entry } from './volume.ts'

type Welcome = Extract<ToStandby, { readonly kind: 'welcome' }>
type Session = {
  connection: Connection | undefined
  welcome: Welcome | undefined
  stage: 'asking' | 'waitingForRoom' | 'joining' | 'copying' | 'following'
  /** What came before the log was ready for it. */
  early: Entry[]
  heardAt: number
  /** The primary's table as far as it is known here: it may have taken back what this log has not seen. */
  theirs: EpochTable
}

/** The follower's end of a session: asks, cuts its log, appends, fsyncs, confirms, offers what it has set aside (README.md, section 6). */
export class StandbyEnd {
  #session: Session | undefined
  #nextTryAt = 0
  readonly #host: Host

  constructor(host: Host) {
    this.#host = host
  }

  /** Looks for a primary, first where the record says; names may be stale, so others are asked too. */
  seek(): void {
    const { scene, node, agent, state } = this.#host
    if (this.#session && node.clock - this.#session.heardAt > scene.timers.promise) this.#giveUp(this.#session)
    if (this.#session || state.role.kind !== 'standby' || node.clock < this.#nextTryAt) return
    this.#nextTryAt = node.clock + scene.random.between(0.1, 0.8) * scene.timers.call
    const peers = scene.peersOf(agent)
    const holder = state.view.known?.holder.instance
    const target = holder !== undefined && peers.includes(holder) && scene.random.chance(0.7) ? holder : scene.random.pick(peers)
    this.#connect(target)
  }

  #connect(target: string): void {
    const { scene, agent, node } = this.#host
    const accepting = scene.processOf(target)?.accept(agent)
    if (!accepting) return
    const session: Session = { connection: undefined, welcome: undefined, stage: 'asking', early: [], theirs: [], heardAt: node.clock }
    const source = `to ${target}`
    const connection = scene.network.connect(
      {
        agent,
        receive: (message) => this.#host.run(source, () => this.#receive(session, message)),
        closed: () => this.#host.run(source, () => this.#ended(session)),
      },
      accepting,
    )
    if (!connection) return
    session.connection = connection
    accepting.joined(connection)
    this.#session = session
    const { volume, state } = this.#host
    const { instance, copy } = state.self
    connection.toPrimary({
      kind: 'follow',
      copy: { instance, copy },
      seen: state.disk.seen,
      table: volume.table,
      complete: volume.complete,
    })
  }

  /** The role's word. What still arrives is not read, but for "over", which the role judges by its epoch. */
  leave(): void {
    const session = this.#session
    this.#session = undefined
    session?.connection?.close('standby')
    if (session) this.#stopWaiting(session)
  }

  /** This process ends in order (R7). */
  end(): void {
    this.#sayLeaving()
    this.#session = undefined
  }

  /** The disk did not take what came: this one is to be removed, and comes again at once, to wait for room (R7). */
  #leaveFull(session: Session): void {
    const { scene, agent } = this.#host
    scene.trace(agent, () => 'leaves: its disk is full')
    this.#sayLeaving()
    this.#ended(session)
    scene.moment('leavingSaid', agent)
  }

  #sayLeaving(): void {
    this.#session?.connection?.toPrimary({ kind: 'leaving' })
    this.#session?.connection?.close('standby')
  }

  promise(number: number): void {
    this.#session?.connection?.toPrimary({ kind: 'promise', number })
  }

  #receive(session: Session, message: ToStandby): void {
    if (message.kind === 'over') {
      this.#host.feed((at) => ({ kind: 'over', at, epoch: message.epoch }))
      this.#host.scene.moment('overHeard', this.#host.agent)
      return
    }
    if (session !== this.#session) return
    session.heardAt = this.#host.node.clock
    switch (message.kind) {
      case 'welcome':
        session.welcome = message
        session.theirs = message.table
        this.#host.feed((at) => ({ kind: 'welcomed', at, epoch: message.epoch }))
        this.#host.scene.moment('welcomed', this.#host.agent)
        return
      case 'entries':
        for (const entry of message.entries) this.#take(session, entry)
        return
      case 'beacon':
        this.#host.feed((at) => ({ kind: 'beacon', at, epoch: message.epoch, number: message.number }))
        return
    }
  }

  /** The role's order, after `welcomed`: the log's tail goes, in one transaction with `seen`. */
  follow(epoch: number): void {
    const { scene, volume, agent } = this.#host
    const session = this.#session
    const welcome = session?.welcome
    if (!session || welcome?.epoch !== epoch) throw new Error(`a session of epoch ${epoch} must be there to follow, was ${welcome?.epoch}`)
    if (volume.isFull) {
      session.stage = 'waitingForRoom'
      scene.timeline.at(volume.roomAt, () => this.#host.run('disk', () => session === this.#session && this.follow(epoch)))
      return
    }
    session.stage = 'joining'
    const { parting, forcedEpoch, snapshot } = welcome
    const join = (): void => {
      if (snapshot) {
        volume.complete = false
        volume.seen = Math.max(volume.seen, epoch)
      } else volume.cut({ parting, epoch, forcedEpoch })
      scene.truth.changed()
    }
    volume.transaction(join, () =>
      this.#host.run('disk', () => {
        this.#host.feed((at) => ({ kind: 'following', at, epoch, complete: volume.complete }))
        if (session !== this.#session) this.#host.feed((at) => ({ kind: 'sessionEnded', at }))
        else if (snapshot) this.#copy(session, welcome)
        else this.#joined(session, welcome)
        scene.moment('following', agent)
      }),
    )
  }

  #copy(session: Session, welcome: Welcome): void {
    const { scene, volume, agent } = this.#host
    const { parting, epoch, forcedEpoch, snapshot } = welcome
    session.stage = 'copying'
    const arrived = (): void => {
      if (session !== this.#session || !snapshot) return
      if (volume.isFull) return this.#leaveFull(session)
      const end = (): void => {
        volume.cut({ parting, epoch, forcedEpoch })
        volume.adopt(snapshot)
        scene.truth.changed()
      }
      volume.transaction(end, () =>
        this.#host.run('disk', () => {
          this.#host.feed((at) => ({ kind: 'completed', at }))
          if (session === this.#session) this.#joined(session, welcome)
        }),
      )
    }
    scene.timeline.after(scene.random.between(5, 3_000), () => this.#host.run('copy', arrived))
    scene.moment('copying', agent)
  }

  #joined(session: Session, welcome: Welcome): void {
    session.stage = 'following'
    this.#host.scene.truth.followed(this.#host.volume, welcome.log)
    for (const entry of session.early.splice(0)) this.#take(session, entry)
    this.#confirm(session)
  }

  #take(session: Session, entry: Entry): void {
    const { scene, volume } = this.#host
    if (session.stage !== 'following') {
      session.early.push(entry)
      return
    }
    if (volume.isFull) return this.#leaveFull(session)
    scene.truth.appended(volume, entry)
    volume.append(entry)
    if (entry.sequence > (session.welcome?.log.length ?? 0)) session.theirs = advanceTable(session.theirs, entry, entry.origin)
    volume.sync(() => {
      scene.truth.changed()
      this.#host.run('disk', () => this.#confirm(session))
    })
  }

  #confirm(session: Session): void {
    if (session !== this.#session || session.stage !== 'following') return
    const { volume } = this.#host
    session.connection?.toPrimary({ kind: 'confirm', sequence: volume.synced, complete: volume.complete })
  }

  /** R8: what was set aside, from where the primary's table ends. */
  offer(): void {
    const { scene, volume, agent } = this.#host
    const session = this.#session
    if (session?.stage !== 'following' || volume.aside.length === 0) return
    for (const offer of planOffers(volume.aside, session.theirs)) {
      if (offer.from !== haveOf(session.theirs, offer.epoch) + 1) throw new Error('an offer must begin where the table ends')
      session.connection?.toPrimary({ kind: 'offer', offer })
      scene.moment('offered', agent)
    }
  }

  /** A connection may be dead for long before anybody says so. */
  #giveUp(session: Session): void {
    session.connection?.close('standby')
    this.#ended(session)
  }

  #ended(session: Session): void {
    if (session !== this.#session) return
    this.#session = undefined
    this.#stopWaiting(session)
    this.#host.feed((at) => ({ kind: 'sessionEnded', at }))
  }

  /** Nothing of that log is on the disk, and nothing will be. */
  #stopWaiting({ stage, welcome }: Session): void {
    if (stage === 'waitingForRoom' && welcome) this.#host.feed((at) => ({ kind: 'joinFailed', at, epoch: welcome.epoch }))
  }

  /** The process is gone. */
  die(): void {
    this.#session?.connection?.break()
  }
}
