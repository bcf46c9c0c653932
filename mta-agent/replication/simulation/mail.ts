import type { AgentState } from '../agent-state.ts'
import { acknowledges, committed, judgeAccept, mayAct, mayStart, needed } from '../role.ts'
import type { Host } from './host.ts'
import type { Aside, Entry } from './volume.ts'

/** One delivery at a time for each message; so many at a time in all. */
const IN_FLIGHT = 8

/** What a primary does with mail: takes it in, answers for it (R2), delivers it (R1), marks it, takes back what was set aside (R8). */
export class Mail {
  #waiting: { readonly message: number; readonly sequence: number; readonly epoch: number }[] = []
  #inFlight = new Set<number>()
  /** As far as the marks in the log were looked at by truth. */
  #committed = 0
  #settled: AgentState | undefined
  readonly #host: Host
  readonly #ship: (entry: Entry) => void

  constructor(host: Host, ship: (entry: Entry) => void) {
    this.#host = host
    this.#ship = ship
  }

  get isIdle(): boolean {
    return this.#inFlight.size === 0
  }

  submit(): void {
    const { state, scene } = this.#host
    if (state.role.kind !== 'primary' || judgeAccept(state) !== 'accept') return
    const message = scene.truth.newMessage()
    const entry = this.#append('message', message, undefined)
    if (entry) this.#waiting.push({ message, sequence: entry.sequence, epoch: entry.epoch })
  }

  takeBack(messages: readonly Aside[]): void {
    for (const { message, origin } of messages) {
      this.#append('message', message, origin)
    }
    this.#host.scene.moment('takenBack', this.#host.agent)
  }

  #append(kind: Entry['kind'], message: number, origin: Entry['origin'] | undefined): Entry | undefined {
    const { state, scene, volume } = this.#host
    if (state.role.kind !== 'primary') return undefined
    const position = { epoch: state.role.epoch, sequence: volume.log.length + 1 }
    const entry: Entry = { kind, ...position, origin: origin ?? position, message, previous: volume.log.at(-1) }
    scene.truth.appended(volume, entry)
    volume.append(entry)
    this.#host.feed((at) => ({ kind: 'appended', at, last: entry.sequence }))
    this.#ship(entry)
    this.sync()
    return entry
  }

  sync(): void {
    const { scene, volume } = this.#host
    volume.sync(() => {
      scene.truth.changed()
      this.#host.run('disk', () => this.#host.feed((at) => ({ kind: 'synced', at, sequence: volume.synced })))
    })
  }

  /** The log of the reigns before, as the role has to know it. */
  lead(): void {
    const { volume } = this.#host
    this.#committed = 0
    this.#waiting = []
    this.#host.feed((at) => ({ kind: 'appended', at, last: volume.log.length }))
    this.#host.feed((at) => ({ kind: 'synced', at, sequence: volume.synced }))
    this.sync()
  }

  stepDown(): void {
    this.#waiting = []
    this.#inFlight = new Set()
  }

  /** After each step of the role. */
  settle(): void {
    const { state } = this.#host
    if (state.role.kind !== 'primary' || state === this.#settled) return
    this.#settled = state
    if (this.#waiting.length > 0) this.#answer()
    const now = committed(state)
    for (; this.#committed < now; this.#committed++) {
      const entry = this.#host.volume.log[this.#committed]
      if (entry?.kind === 'mark') this.#host.scene.truth.markCommitted(entry.message, state.role.epoch)
    }
  }

  #answer(): void {
    const { state, scene, agent } = this.#host
    const before = this.#waiting.length
    this.#waiting = this.#waiting.filter(({ message, sequence, epoch }) => {
      const how = acknowledges(state, sequence)
      if (how === 'wait') return true
      if (how === 'refuse') return false
      const copies = [state.self.copy, ...needed(state).map((key) => key.slice(key.indexOf('/') + 1))]
      scene.truth.acknowledged(message, { how, epoch, copies })
      scene.trace(agent, () => `acknowledges message ${message} (${how})`)
      return false
    })
    if (this.#waiting.length < before) scene.moment('acknowledged', agent)
  }

  deliver(): void {
    const { state, node, volume, scene } = this.#host
    if (!mayStart(state, node.clock) || state.role.kind !== 'primary') return
    const { epoch } = state.role
    const upTo = committed(state)
    for (const entry of volume.live.values()) {
      if (this.#inFlight.size >= IN_FLIGHT) return
      if (entry.sequence > upTo || this.#inFlight.has(entry.message)) continue
      this.#inFlight.add(entry.message)
      const takes = scene.random.chance(scene.slowDeliveries) ? scene.random.between(500, 8_000) : scene.random.between(5, 400)
      scene.timeline.after(takes, () => this.#host.run('delivery', () => this.#finish(entry, epoch)))
    }
  }

  /** Only what every copy in the effective set has; a copy outside it may then need a full copy. */
  trim(): void {
    const { state, scene, volume } = this.#host
    const upTo = committed(state)
    if (volume.log.length >= scene.trimFrom && scene.random.chance(0.2)) volume.first = Math.max(volume.first, upTo + 1)
  }

  /** The last check before the command that completes it. */
  #finish(entry: Entry, epoch: number): void {
    const { scene, agent, volume, state, node } = this.#host
    if (state.role.kind !== 'primary' || state.role.epoch !== epoch) return
    if (!mayAct(state, node.clock) || volume.live.get(entry.message) !== entry) {
      this.#inFlight.delete(entry.message)
      return
    }
    scene.truth.delivered(entry.message, epoch, scene.api.current)
    scene.trace(agent, () => `delivers message ${entry.message}`)
    scene.moment('delivered', agent)
    this.#host.run('mark', () => {
      if (this.#host.state.role.kind !== 'primary' || this.#host.state.role.epoch !== epoch) return
      this.#append('mark', entry.message, undefined)
      this.#inFlight.delete(entry.message)
    })
  }
}
