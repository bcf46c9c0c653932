import type { Copy } from '#agent/contract/record.ts'
import { isKubeError } from '#kube/errors.ts'
import type { AgentState, EventOf, RoleEffect, RoleEvent } from '../agent-state.ts'
import { mayAct, startAgent, step } from '../role.ts'
import { type Millis, timersOf } from '../timers.ts'
import { commitmentOf, factsOf, permissionOf } from './facts.ts'
import type { FoundPrimary } from './find-primary.ts'
import { FollowedPrimary, type Undated } from './followed-primary.ts'
import { Followers } from './followers.ts'
import { eventsOf, isPlain } from './from-main.ts'
import { type ChangeLog, logChange, startChangeLog } from './last-change.ts'
import type { CoordinatorSettings, FromCoordinator, ToCoordinator } from './messages.ts'
import type { RecordClient } from './record-client.ts'
import type { FollowerPorts } from './serve-followers.ts'
import type { CellOfCoordinator } from './shared-cell.ts'

/**
 * THE LOOP of the coordinator: one event after the other into role.ts, its effects out, in order. One thread owns both the promise and the
 * decision to claim, because everything that could bring them about goes through here.
 *
 *   event ──▶ step ──▶ cell (what may be done) ──▶ effects ──▶ what has become of it is told
 *
 * The cell comes before the effects: whoever says that a reign is over has stopped acting by then. An event is dated when it is taken up, never
 * before it arrived: a promise that is counted from later binds longer.
 */

export type CoordinatorPorts = {
  readonly settings: Pick<CoordinatorSettings, 'self' | 'timing' | 'durability' | 'disk'>
  readonly cell: CellOfCoordinator
  readonly record: RecordClient
  readonly tell: (message: FromCoordinator) => void
  readonly clock: () => Millis
  readonly wall: () => Millis
  readonly token: () => string
  /** For as long as a reign; it may act only while `mayAct` says so. */
  readonly announce: (epoch: number, signal: AbortSignal) => void
  /** A defect: nothing can be trusted from here on. */
  readonly onBroken: (error: unknown) => void
}

type Pending = {
  /** What happens, now that it is taken up; nothing when it is about what is no more. */
  readonly events: (state: AgentState, at: Millis) => readonly RoleEvent[]
  /** Whom `welcomed` is about. */
  readonly found?: FoundPrimary
}

/** While a quick claim is written down, which takes the main thread an fsync. More than this means that it hangs. */
const MAX_PENDING = 10_000
/** How often the numbers of followers are told. */
const TELL_EVERY: Millis = 1_000

export class Coordinator {
  readonly #ports: CoordinatorPorts
  readonly #ended = new AbortController()
  readonly #followers: Followers
  readonly #primary: FollowedPrimary
  #state: AgentState
  #changes: ChangeLog
  #pending: Pending[] = []
  #isRunning = false
  /** What is left to be done once the quick claim is on the disk. */
  #afterNote: (() => void) | undefined
  #sessions = 0
  #committed = { epoch: 0, sequence: 0 }
  #reign: AbortController | undefined
  #told = { facts: '', numbers: '', at: Number.NEGATIVE_INFINITY }

  constructor(ports: CoordinatorPorts) {
    this.#ports = ports
    const { self, timing, durability, disk } = ports.settings
    const at = ports.clock()
    this.#state = startAgent({ self, timers: timersOf(timing), durability, disk, at })
    this.#changes = startChangeLog(at)
    this.#followers = new Followers(ports.tell)
    this.#primary = new FollowedPrimary({
      tell: ports.tell,
      silence: this.#state.timers.promise,
      dispatch: (event) => this.#dispatch(event),
      onBroken: ports.onBroken,
    })
    ports.cell.permit(permissionOf(this.#state, at))
    this.#tellFacts()
  }

  get state(): AgentState {
    return this.#state
  }

  mayAct(): boolean {
    return mayAct(this.#state, this.#ports.clock())
  }

  /** Whether there is nobody to follow, and a wish to. */
  isLooking(): boolean {
    const { role } = this.#state
    return role.kind === 'standby' && role.joining === undefined && this.#primary.isFree && !this.#ended.signal.aborted
  }

  tick(): void {
    // One that waits for the disk has nothing to do by time; what has happened meanwhile waits in order.
    if (this.#afterNote !== undefined || this.#ended.signal.aborted) return
    const stalledFor = this.#ports.cell.stalledFor(this.#ports.clock())
    this.#dispatch({ kind: 'tick', stalledFor })
    this.#tellFacts()
  }

  /** Ends all sessions. A primary does not renounce by it: its right runs out, or its next process claims. */
  stop(): void {
    this.#ended.abort()
    this.#reign?.abort()
    this.#primary.leave()
    this.#followers.endAll()
  }

  take(message: Exclude<ToCoordinator, { readonly kind: 'peers' | 'endpoint' }>): void {
    if (isPlain(message)) return this.#enqueue({ events: (state, at) => eventsOf(message, state, at) })
    switch (message.kind) {
      case 'logJoined':
        return this.#primary.onJoined(message)
      case 'logLinkEnded':
        this.#primary.onLogEnded(message)
        return this.onFollowerEnd(message.session, 'its log link has ended')
      case 'confirmed': {
        const { session, sequence, complete } = message
        return this.#ofFollower(session, (copy) => ({ kind: 'confirmed', copy, sequence, complete }))
      }
      case 'quickClaimNoted':
        return this.#afterNote?.()
      case 'stop':
        return this.stop()
    }
  }

  // What comes from the links.

  readonly onFound = (found: FoundPrimary): void => {
    this.#enqueue({ events: (_, at) => [{ kind: 'welcomed', at, epoch: found.epoch }], found })
  }

  onHigherEpoch(epoch: number): void {
    this.#dispatch({ kind: 'higherEpoch', epoch })
  }

  readonly onFollow: FollowerPorts['onFollow'] = ({ instance, copy: copyId, seen, link }) => {
    const { role, view } = this.#state
    if (role.kind !== 'primary' || this.#ended.signal.aborted) return { kind: 'refused', because: 'NotPrimary' }
    if (role.epoch < seen) {
      this.onHigherEpoch(seen)
      return { kind: 'refused', because: 'Behind' }
    }
    const before = this.#followers.sessionOf(instance)
    if (before !== undefined) this.onFollowerEnd(before, 'it has come again')
    const [copy, session, token] = [{ instance, copy: copyId }, ++this.#sessions, this.#ports.token()]
    this.#followers.add({ session, epoch: role.epoch, copy, link, token })
    this.#dispatch({ kind: 'followed', copy })
    return { kind: 'welcome', session, epoch: role.epoch, token, forcedEpoch: view.known?.forcedEpoch ?? 0 }
  }

  readonly onPromise = (session: number, number: number): void => {
    this.#ofFollower(session, (copy) => ({ kind: 'promised', copy, number }))
  }

  readonly onLeaving = (session: number): void => {
    this.#ofFollower(session, (copy) => ({ kind: 'leaving', copy }))
  }

  readonly onFollowerEnd = (session: number, because: string): void => {
    const copy = this.#followers.copyOf(session)
    if (!copy) return
    this.#say('info', 'follower left', { follower: copy.instance, because })
    this.#followers.end(session)
    this.#dispatch({ kind: 'followerLeft', copy })
  }

  /** Nothing, when the session has ended before it is taken up. */
  #ofFollower(session: number, event: (copy: Copy) => Undated): void {
    this.#enqueue({
      events: (_, at) => {
        const copy = this.#followers.copyOf(session)
        return copy ? [dated(event(copy), at)] : []
      },
    })
  }

  // The loop.

  #dispatch(event: Undated): void {
    this.#enqueue({ events: (_, at) => [dated(event, at)] })
  }

  #enqueue(pending: Pending): void {
    if (this.#pending.length >= MAX_PENDING) throw new Error(`no more than ${MAX_PENDING} events may wait for the main thread, did`)
    this.#pending.push(pending)
    this.#run()
  }

  #run(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      while (this.#afterNote === undefined) {
        const next = this.#pending.shift()
        if (next === undefined) break
        for (const event of next.events(this.#state, this.#ports.clock())) this.#step(event, next.found)
      }
    } finally {
      this.#isRunning = false
    }
  }

  #step(event: RoleEvent, found: FoundPrimary | undefined): void {
    const before = this.#state
    const { state, effects } = step(before, event)
    this.#state = state
    this.#ports.cell.permit(permissionOf(state, event.at))
    const { last } = this.#changes
    this.#changes = logChange(this.#changes, { before, event, after: state, effects, wall: this.#ports.wall() })
    this.#perform(effects, found)
    this.#answerBeacon(event, effects)
    this.#tellChanges(before)
    if (this.#changes.last !== last) this.#tellFacts()
  }

  #answerBeacon(event: RoleEvent, effects: readonly RoleEffect[]): void {
    if (event.kind !== 'beacon' || effects.some((effect) => effect.kind === 'promise')) return
    this.#primary.send(event.epoch, { kind: 'heard', number: event.number })
  }

  #perform(effects: readonly RoleEffect[], found: FoundPrimary | undefined): void {
    for (const [index, effect] of effects.entries()) {
      if (effect.kind === 'noteQuickClaim') {
        this.#afterNote = () => {
          this.#afterNote = undefined
          this.#perform(effects.slice(index + 1), found)
          this.#run()
        }
        return this.#ports.tell(effect)
      }
      this.#deeds[effect.kind](effect as never, found)
    }
  }

  readonly #deeds: Deeds = {
    read: ({ call }) => void this.#read(call),
    write: (effect) => void this.#write(effect),
    storeSeen: (effect) => this.#ports.tell(effect),
    follow: (_, found) => {
      if (found === undefined) throw new Error('one who follows must have been welcomed, was not')
      this.#primary.begin(++this.#sessions, found)
    },
    leave: (_, found) => (found ? found.link.close() : this.#primary.end('left')),
    promise: ({ epoch, number }) => this.#primary.send(epoch, { kind: 'promise', number }),
    beacon: ({ epoch, number }) => this.#followers.sendAll(epoch, { kind: 'beacon', number }),
    sayOver: ({ epoch, last }) => this.#followers.sendAll(epoch, { kind: 'over', last }),
    stepDown: (effect) => {
      this.#reign?.abort()
      this.#followers.endAll()
      this.#ports.tell(effect)
    },
    lead: ({ epoch }) => {
      const forcedEpoch = this.#state.view.known?.forcedEpoch ?? 0
      this.#ports.tell({ kind: 'lead', epoch, forcedEpoch })
      this.#reign = new AbortController()
      this.#ports.announce(epoch, this.#reign.signal)
    },
    closeListener: (effect) => this.#ports.tell(effect),
    openListener: (effect) => this.#ports.tell(effect),
    removeAddresses: (effect) => this.#ports.tell(effect),
    switchoverRefused: (effect) => this.#ports.tell(effect),
    forceRefused: (effect) => this.#ports.tell(effect),
  }

  // Calls to the API server.

  async #read(call: number): Promise<void> {
    await this.#call(call, async (signal) => {
      const answer = await this.#ports.record.read(signal)
      if ('because' in answer) this.#say('error', 'record cannot be used', { because: answer.because })
      this.#dispatch({ kind: 'read', wall: this.#ports.wall(), call, record: answer.record })
    })
  }

  async #write({ call, base, content }: EffectOf<'write'>): Promise<void> {
    this.#say('info', 'record is to be written', { base, ...content })
    await this.#call(call, async (signal) => {
      await this.#ports.record.write(base, content, signal)
      this.#dispatch({ kind: 'callEnded', call })
    })
  }

  async #call(call: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#ended
    try {
      await work(signal)
    } catch (error) {
      if (signal.aborted) return
      if (!isKubeError(error)) return this.#ports.onBroken(error)
      this.#say('warn', 'record could not be reached', { because: error.message })
      this.#dispatch({ kind: 'callEnded', call })
    }
  }

  // What is told.

  #tellChanges(before: AgentState): void {
    const state = this.#state
    if (before.role.kind !== state.role.kind) {
      this.#say('info', 'role changed', { from: before.role.kind, to: state.role.kind, seen: state.disk.seen })
    }
    if (stageOf(state) === 'finishing' && stageOf(before) !== 'finishing' && state.role.kind === 'primary') {
      this.#ports.tell({ kind: 'finishTransactions', epoch: state.role.epoch })
    }
    this.#tellCommitted()
    const isNews = before.role.kind !== state.role.kind || before.view.known !== state.view.known || before.trouble !== state.trouble
    if (isNews || stageOf(before) !== stageOf(state)) this.#tellFacts()
  }

  #tellCommitted(): void {
    const commitment = commitmentOf(this.#state)
    if (commitment === undefined) return
    const { epoch, sequence } = this.#committed
    if (commitment.epoch === epoch && commitment.sequence <= sequence) return
    this.#committed = commitment
    this.#ports.tell({ kind: 'committed', ...commitment })
  }

  /** What changes with every batch is told now and then only. */
  #tellFacts(): void {
    const status = factsOf(this.#state, this.#primary.followed, this.#changes.last)
    const { followers, ...rest } = status
    const facts = JSON.stringify([rest, followers.map(({ copy, complete, needed }) => [copy, complete, needed])])
    const numbers = JSON.stringify(followers)
    const at = this.#ports.clock()
    if (facts === this.#told.facts && (numbers === this.#told.numbers || at - this.#told.at < TELL_EVERY)) return
    this.#told = { facts, numbers, at }
    this.#ports.tell({ kind: 'status', status })
  }

  #say(level: 'info' | 'warn' | 'error', message: string, facts: Readonly<Record<string, unknown>>): void {
    this.#ports.tell({ kind: 'told', level, message, facts })
  }
}

type EffectOf<K extends RoleEffect['kind']> = Extract<RoleEffect, { readonly kind: K }>
type Deeds = {
  readonly [K in Exclude<RoleEffect['kind'], 'noteQuickClaim'>]: (effect: EffectOf<K>, found: FoundPrimary | undefined) => void
}

const dated = (event: Undated, at: Millis): RoleEvent => ({ ...event, at }) as EventOf<RoleEvent['kind']>

const stageOf = ({ role }: AgentState): string | undefined => (role.kind === 'primary' ? role.switchover?.stage : undefined)
