import type { AgentState, EventOf, RoleEffect, RoleEvent, Switchover } from '../agent-state.ts'
import { addressLifetime, startAgent, step } from '../role.ts'
import type { Millis } from '../timers.ts'
import type { Host } from './host.ts'
import { Mail } from './mail.ts'
import type { Node } from './node.ts'
import { PrimaryEnd } from './primary-end.ts'
import type { Accepting, Moment, Peer, Scene } from './scene.ts'
import { StandbyEnd } from './standby-end.ts'
import type { Volume } from './volume.ts'

/** Wall clocks are good for nothing but "how often"; here they run so that a quick claim is possible every ten seconds. */
const WALL = { offset: 1_800_000_000_000, rate: 60 }

type Place = { readonly agent: string; readonly incarnation: string; readonly node: Node; readonly volume: Volume; readonly scene: Scene }

/**
 * One process of an agent: the shell around role.ts. It does one thing after another, can be paused between any two of them, also between two
 * effects of one step, and is gone when it dies. Whatever reaches it while it is paused waits, in order for each source.
 */
export class Process implements Host, Peer {
  readonly agent: string
  readonly incarnation: string
  readonly scene: Scene
  readonly node: Node
  readonly volume: Volume
  state: AgentState
  isAlive = true
  isPaused = false
  /** On the node's clock: since when the main loop has not moved. */
  stalledSince: Millis | undefined
  readonly mail: Mail
  readonly #standby: StandbyEnd
  readonly #primary: PrimaryEnd
  readonly #work: (() => void)[] = []
  readonly #waiting = new Map<string, (() => void)[]>()
  #isWorking = false

  constructor({ agent, incarnation, node, volume, scene }: Place) {
    this.agent = agent
    this.incarnation = incarnation
    this.scene = scene
    this.node = node
    this.volume = volume
    this.mail = new Mail(this, (entry) => this.#primary.ship(entry))
    this.#standby = new StandbyEnd(this)
    this.#primary = new PrimaryEnd(this, this.mail)
    const { seen, complete, quickClaimAt } = volume
    this.state = startAgent({
      self: { instance: agent, copy: volume.copy, incarnation },
      timers: scene.timers,
      durability: scene.durability,
      disk: { seen, complete, quickClaimAt },
      at: node.clock,
    })
    this.#tickAfter(scene.random.between(0, 300))
    this.#refreshAfter(scene.random.between(0, 300))
  }

  // Work.

  run(source: string, work: () => void): void {
    if (!this.isAlive) return
    if (this.isPaused) {
      const waiting = this.#waiting.get(source)
      if (waiting) waiting.push(work)
      else this.#waiting.set(source, [work])
      return
    }
    this.#work.push(work)
    this.#drain()
  }

  feed(event: (at: Millis) => RoleEvent): void {
    this.#work.push(() => this.#step(event(this.node.clock)))
    this.#drain()
  }

  #drain(): void {
    if (this.#isWorking) return
    this.#isWorking = true
    while (this.isAlive && !this.isPaused) {
      const work = this.#work.shift() ?? this.#nextWaiting()
      if (!work) break
      work()
      this.scene.stepped()
    }
    this.#isWorking = false
  }

  /** After a pause: from any source, but in the order of each. */
  #nextWaiting(): (() => void) | undefined {
    if (this.#waiting.size === 0) return undefined
    const source = this.scene.random.pick([...this.#waiting.keys()])
    const list = this.#waiting.get(source)!
    const work = list.shift()
    if (list.length === 0) this.#waiting.delete(source)
    return work
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    this.#drain()
  }

  /** In order: what is said last still leaves, and nothing is begun any more. */
  end(): void {
    this.isAlive = false
    if (this.state.role.kind === 'primary') this.node.dropAddress()
    this.#standby.end()
    this.#primary.end()
    this.#moment('leavingSaid')
  }

  die(): void {
    this.isAlive = false
    this.#standby.die()
    this.#primary.die()
  }

  // The role.

  #step<K extends RoleEvent['kind']>(event: EventOf<K>): void {
    const before = this.state
    const { state, effects } = step(before, event)
    this.state = state
    this.#tell(before, effects)
    this.#work.unshift(...effects.map((effect) => () => this.#perform(effect)), () => this.mail.settle())
    this.#noteStages(before)
  }

  #tell(before: AgentState, effects: readonly RoleEffect[]): void {
    const { role, trouble } = this.state
    if (role.kind !== before.role.kind) {
      const epoch = role.kind === 'primary' ? ` of epoch ${role.epoch}` : ''
      this.scene.trace(this.agent, () => `${before.role.kind} → ${role.kind}${epoch}`)
    }
    if (trouble !== before.trouble) this.scene.trace(this.agent, () => `trouble: ${trouble}`)
    for (const effect of effects) {
      if (effect.kind !== 'beacon' && effect.kind !== 'promise') this.scene.trace(this.agent, () => describe(effect))
    }
  }

  #noteStages({ role: before }: AgentState): void {
    const { role } = this.state
    if (before.kind === 'primary' && role.kind === 'primary') this.#noteSwitchover(before.switchover?.stage, role.switchover?.stage)
    else if (before.kind === 'primary') this.#moment('deposed')
    else if (before.kind === 'claiming' && role.kind === 'claiming' && role.won && !before.won) this.#moment('won')
  }

  #noteSwitchover(before: Switchover['stage'] | undefined, stage: Switchover['stage'] | undefined): void {
    if (stage === before) return
    this.scene.trace(this.agent, () => `switchover: ${stage ?? 'off'}`)
    const moment = stage && MOMENT_OF_STAGE[stage]
    if (moment) this.#moment(moment)
  }

  /** The adversary's turn comes before the effect itself, which a pause then puts off and a crash prevents. */
  #perform(effect: RoleEffect): void {
    const moment = momentOf(effect, this.state)
    if (!moment) {
      this.#act(effect)
      return
    }
    this.#work.unshift(() => this.#act(effect))
    this.#moment(moment)
  }

  #moment(moment: Moment): void {
    this.scene.moment(moment, this.agent)
  }

  // oxlint-disable-next-line complexity -- one line for each effect
  #act(effect: RoleEffect): void {
    const { scene, volume, agent, node } = this
    switch (effect.kind) {
      case 'read':
        return scene.api.get({
          agent,
          answer: (record) =>
            record && this.run('api', () => this.feed((at) => ({ kind: 'read', at, wall: this.#wall, call: effect.call, record }))),
        })
      case 'write':
        return scene.api.put(
          { agent, answer: () => this.run('api', () => this.feed((at) => ({ kind: 'callEnded', at, call: effect.call }))) },
          effect.base,
          effect.content,
        )
      case 'noteQuickClaim':
        volume.quickClaimAt = effect.wall
        return
      case 'storeSeen':
        return volume.transaction(
          () => {
            volume.seen = Math.max(volume.seen, effect.epoch)
            volume.complete = true
          },
          () => this.run('disk', () => this.feed((at) => ({ kind: 'seenStored', at, epoch: effect.epoch }))),
        )
      case 'follow':
        return this.#standby.follow(effect.epoch)
      case 'leave':
        return this.#standby.leave()
      case 'promise':
        return this.#standby.promise(effect.number)
      case 'lead':
        scene.truth.leads(effect.epoch, this.incarnation, volume)
        return this.mail.lead()
      case 'stepDown':
        node.dropAddress()
        this.mail.stepDown()
        return this.#primary.perform(effect)
      case 'beacon':
      case 'sayOver':
        return this.#primary.perform(effect)
      case 'removeAddresses':
        node.dropAddress()
        return this.run('holder', () => this.feed((at) => ({ kind: 'addressesRemoved', at })))
      case 'closeListener':
      case 'openListener':
      case 'switchoverRefused':
        return
      case 'forceRefused':
        return scene.truth.forceRefused(agent, effect.because)
    }
  }

  get #wall(): Millis {
    return WALL.offset + this.scene.timeline.now * WALL.rate
  }

  // Time.

  #tickAfter(delay: Millis): void {
    this.scene.timeline.after(delay, () => this.run('timer', () => this.#tick()))
  }

  #tick(): void {
    const stalledFor = this.#stalledFor()
    this.feed((at) => ({ kind: 'tick', at, stalledFor }))
    this.run('timer', () => {
      this.#standby.seek()
      if (this.stalledSince === undefined) this.#moveMail()
    })
    const { clock } = this.node
    const isHandingOver = this.state.role.kind === 'primary' && this.state.role.switchover !== undefined
    const regular = isHandingOver ? this.scene.random.between(5, 60) : this.scene.timers.beacon * this.scene.random.between(0.6, 1)
    // A promise is over when it is over, not at the next tick.
    const left = this.state.pledge.boundUntil - clock
    this.#tickAfter(this.node.trueDelay(left > 0 && left < regular ? left : regular))
  }

  #moveMail(): void {
    const { role } = this.state
    if (role.kind !== 'primary') {
      this.#standby.offer()
      return
    }
    this.#primary.takeOwnBack()
    this.mail.deliver()
    this.mail.trim()
    if (role.switchover?.stage === 'finishing' && this.mail.isIdle) this.feed((at) => ({ kind: 'transactionsEnded', at }))
  }

  /** The holder of the addresses goes by a time of its own. */
  #refreshAfter(delay: Millis): void {
    this.scene.timeline.after(delay, () =>
      this.run('holder', () => {
        this.#moment('refreshing')
        this.run('holder', () => this.#refreshAddress())
        this.#refreshAfter(this.scene.random.between(50, 900))
      }),
    )
  }

  #refreshAddress(): void {
    const lifetime = addressLifetime(this.state, this.node.clock) * 1_000
    if (lifetime > 0) this.node.giveAddress(lifetime)
    else if (this.node.holdsAddress) this.node.dropAddress()
  }

  /** Of the main loop or of an fsync. */
  #stalledFor(): Millis {
    const loop = this.stalledSince === undefined ? 0 : this.node.clock - this.stalledSince
    return Math.max(loop, this.volume.hangsFor / this.node.trueDelay(1))
  }

  // Others.

  accept(from: string): Accepting | undefined {
    return this.isAlive ? this.#primary.accept(from) : undefined
  }

  submit(): void {
    if (this.stalledSince === undefined && !this.isPaused) this.run('client', () => this.mail.submit())
  }
}

const MOMENT_OF_STAGE = { asked: 'switchoverAsked', finishing: 'switchoverBegun', closing: 'closing', detaching: undefined } as const

function momentOf({ kind }: RoleEffect, { role }: AgentState): Moment | undefined {
  return kind === 'write' ? (role.kind === 'claiming' ? 'claiming' : 'settingSet') : MOMENT_OF[kind]
}

const MOMENT_OF: Readonly<Partial<Record<RoleEffect['kind'], Moment>>> = {
  lead: 'leading',
  removeAddresses: 'detaching',
  sayOver: 'overSaid',
  beacon: 'beaconing',
}

function describe(effect: RoleEffect): string {
  if (effect.kind !== 'write') return Object.values(effect).join(' ')
  const { holder, epoch, inSync, forcedEpoch } = effect.content
  const set = inSync.map((one) => one.copy).join(' ')
  const forced = forcedEpoch > 0 ? `, forced in ${forcedEpoch}` : ''
  return `write ${effect.call} on version ${effect.base}: ${holder.incarnation} leads ${epoch}, set ${set}${forced}`
}
