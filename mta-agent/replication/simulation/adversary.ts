import { force } from './admin.ts'
import { type Fault, FAULTS, heal } from './faults.ts'
import type { Profile } from './profiles.ts'
import type { Moment } from './scene.ts'
import type { World } from './world.ts'

/** So that a run with many faults is still about something. */
const MOST_AIMED = 25

/** Throws the faults of a profile at a world until it is told to stop. */
export class Adversary {
  readonly #world: World
  readonly #profile: Profile
  #isActive = true
  #aimed = 0

  constructor(world: World, profile: Profile) {
    this.#world = world
    this.#profile = profile
    world.api.trouble = profile.apiTrouble ?? 0
    world.onMoment = (moment, agent) => this.#moment(moment, agent)
    this.#repeat(profile.every, () => this.#atAnyTime())
    if (profile.switchoverEvery) this.#repeat(profile.switchoverEvery, () => FAULTS.switchover(world))
    if (profile.forceEvery) this.#repeat(profile.forceEvery, () => force(world))
  }

  stop(): void {
    this.#isActive = false
    heal(this.#world)
  }

  #repeat(mean: number, act: () => void): void {
    this.#world.timeline.after(mean * this.#world.random.between(0.2, 1.8), () => {
      if (!this.#isActive) return
      act()
      this.#repeat(mean, act)
    })
  }

  #atAnyTime(): void {
    const { random, places } = this.#world
    this.#strike(random.pickWeighted(this.#profile.faults), random.pick(places).agent)
  }

  #moment(moment: Moment, agent: string): void {
    const aim = this.#profile.aim[moment]
    const { random, timeline, settings, places } = this.#world
    if (!aim || !this.#isActive || this.#aimed >= MOST_AIMED || !random.chance(aim.chance)) return
    this.#aimed += 1
    const others = places.filter((one) => one.agent !== agent)
    const target = random.chance(aim.others ?? 0.3) ? random.pick(others).agent : agent
    const fault = random.pickWeighted(aim.faults)
    if (random.chance(aim.atOnce ?? 0.5)) this.#strike(fault, target)
    else
      timeline.after(random.chance(0.7) ? random.between(0, 20) : random.between(0, settings.timers.call), () =>
        this.#strike(fault, target),
      )
  }

  #strike(fault: Fault, agent: string): void {
    if (this.#isActive) FAULTS[fault](this.#world, this.#world.place(agent))
  }
}
