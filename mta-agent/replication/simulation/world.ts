import { type Copy, setOf } from '../record.ts'
import { mayAct } from '../role.ts'
import { DRIFT, type Millis, type Timers } from '../timers.ts'
import { ApiServer } from './api.ts'
import { Network } from './network.ts'
import { Node } from './node.ts'
import { Process } from './process.ts'
import type { Random } from './random.ts'
import type { Moment, Scene } from './scene.ts'
import { Timeline } from './timeline.ts'
import { Truth, Violation } from './truth.ts'
import { Volume } from './volume.ts'

/** A place for an agent: its node, its disk and the process that runs there now, if any. */
export type Place = {
  readonly agent: string
  readonly node: Node
  volume: Volume
  process: Process | undefined
  /** Its process was told to end in order, and has not yet. */
  isEnding: boolean
  /** Whatever was to bring it back. */
  isLost: boolean
  incarnations: number
  disks: number
  snapshot: Volume | undefined
}

export type Settings = {
  readonly timers: Timers
  readonly durability: 'Strict' | 'Available'
  readonly agents: readonly string[]
  /** How many of them are in sync at the start; the first is the holder. */
  readonly inSync: number
  /** From which length of its log on a primary trims what is committed; Infinity: never. */
  readonly trimFrom: number
  readonly slowDeliveries: number
  /** The first one's clock is as slow, the others' as fast as the hardware allows, until a fault changes it. */
  readonly firstIsSlow: boolean
  readonly trace: ((line: string) => void) | undefined
}

/** The simulated shard: agents on nodes, API server, network, and what is true. What befalls it is in faults.ts. */
export class World {
  readonly timeline = new Timeline()
  readonly random: Random
  readonly settings: Settings
  readonly truth: Truth
  readonly api: ApiServer
  readonly network: Network
  readonly places: readonly Place[]
  /** Set by the adversary. */
  onMoment: (moment: Moment, agent: string) => void = () => undefined
  readonly #scene: Scene

  constructor(random: Random, settings: Settings) {
    this.random = random
    this.settings = settings
    const { timeline } = this
    const chance = { timeline, random }
    this.truth = new Truth(settings.durability === 'Strict')
    this.network = new Network(chance)
    this.places = settings.agents.map((agent, i) => ({
      agent,
      node: new Node(timeline, random, settings.firstIsSlow ? (i === 0 ? 1 - DRIFT : 1 + DRIFT) : undefined),
      volume: new Volume(`${agent}1`, 1, chance),
      process: undefined,
      isEnding: false,
      isLost: false,
      incarnations: 0,
      disks: 1,
      snapshot: undefined,
    }))
    for (const { volume } of this.places) this.truth.volumes.set(volume.copy, volume)
    this.api = new ApiServer(chance, this.#firstRecord(), (before, after) => this.truth.recordChanged(before, after))
    this.#scene = this.#buildScene()
  }

  /** As the operator creates it: led by a process that is no more. */
  #firstRecord() {
    const copies = this.places.slice(0, this.settings.inSync).map(({ agent, volume }): Copy => ({ instance: agent, copy: volume.copy }))
    const [first] = this.places
    return { holder: { instance: first!.agent, incarnation: `${first!.agent}-0` }, epoch: 1, inSync: setOf(copies), forcedEpoch: 0 }
  }

  #buildScene(): Scene {
    const { timeline, random, api, network, truth, settings } = this
    return {
      timeline,
      random,
      api,
      network,
      truth,
      timers: settings.timers,
      durability: settings.durability,
      trimFrom: settings.trimFrom,
      slowDeliveries: settings.slowDeliveries,
      moment: (moment, agent) => this.onMoment(moment, agent),
      trace: (agent, text) => settings.trace?.(`${timeline.now.toFixed(1).padStart(9)}  ${agent}  ${text()}`),
      stepped: () => this.check(),
      processOf: (agent) => this.place(agent).process,
      peersOf: (agent) => settings.agents.filter((one) => one !== agent),
    }
  }

  place(agent: string): Place {
    const place = this.places.find((one) => one.agent === agent)
    if (!place) throw new Error(`there must be an agent ${agent}`)
    return place
  }

  note(agent: string, text: string): void {
    this.#scene.trace(agent, () => text)
  }

  start(place: Place): void {
    if (place.process || place.isLost) return
    place.incarnations += 1
    const { agent, node, volume } = place
    this.note(agent, `starts on ${volume.copy}, seen ${volume.seen}`)
    place.process = new Process({ agent, incarnation: `${agent}-${place.incarnations}`, node, volume, scene: this.#scene })
    this.onMoment('restarted', agent)
  }

  /** The process ends; `power`: its node does too, and the kernel's addresses with it. */
  stop(place: Place, power: boolean): void {
    if (place.process) {
      this.note(place.agent, power ? 'loses power' : 'dies')
      place.process.die()
      place.volume.crash()
      place.process = undefined
      place.isEnding = false
      this.truth.changed()
    }
    if (power) place.node.dropAddress()
  }

  /** Another disk in this place: empty, or a snapshot of one, always with a copy id of its own. The old one is gone. */
  replaceDisk(place: Place, from: Volume | undefined): void {
    this.stop(place, this.random.chance(0.5))
    place.disks += 1
    const copy = `${place.agent}${place.disks}`
    const volume = from?.cloneAs(copy) ?? new Volume(copy, 0, { timeline: this.timeline, random: this.random })
    this.note(
      place.agent,
      `its disk ${place.volume.copy} is lost, ${from ? `a snapshot of ${from.copy}` : 'an empty one'} is there as ${copy}`,
    )
    this.truth.volumes.delete(place.volume.copy)
    this.truth.volumes.set(copy, volume)
    place.volume = volume
    this.truth.changed()
  }

  /** S1 and S2. */
  check(): void {
    let primary: Place | undefined
    let holding: Place | undefined
    for (const place of this.places) {
      if (place.process?.state.role.kind === 'primary') {
        if (primary && isActing(primary) && isActing(place)) throw new Violation('S1', `${primary.agent} and ${place.agent} may act`)
        if (!primary || isActing(place)) primary = place
      }
      if (place.node.holdsAddress) {
        if (holding) throw new Violation('S1', `the nodes of ${holding.agent} and ${place.agent} hold the address`)
        holding = place
      }
    }
    this.truth.checkMail(this.api.current)
  }

  run(duration: Millis): void {
    this.timeline.runUntil(this.timeline.now + duration, () => this.check())
  }
}

const isActing = ({ process, node }: Place): boolean => process !== undefined && mayAct(process.state, node.clock)
