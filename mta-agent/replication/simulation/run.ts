import { includes } from '../record.ts'
import { mayAct } from '../role.ts'
import { buildTimers, FAST_TIMERS, type Timers } from '../timers.ts'
import { force } from './admin.ts'
import { Adversary } from './adversary.ts'
import { FAULTS } from './faults.ts'
import { type Profile, type ProfileName, PROFILES } from './profiles.ts'
import { Random } from './random.ts'
import { Violation } from './truth.ts'
import { type Settings, World } from './world.ts'

/** Every inequality of timers.ts at its edge, where there is no slack to hide a mistake. */
export const TIGHT_TIMERS: Timers = buildTimers({
  beacon: 280,
  promise: 2_750,
  right: 2_250,
  stop: 10,
  call: 400,
  removeAfter: 1_400,
  stall: 1_500,
  attachWait: 1_528,
  harmlessPause: 1_000,
})

const FAULTY_FOR = 12_000
/** Longer than everything that may have to run out one after the other: late writes, promises, removals, a forced promotion. */
const HEALED_WITHIN = 120_000

export type Outcome = {
  readonly seed: number
  readonly profile: ProfileName
  readonly violation: string | undefined
  readonly steps: number
  /** Virtual milliseconds. */
  readonly lasted: number
  readonly epochs: number
  readonly counts: World['truth']['counts']
}

export type RunOptions = {
  readonly trace?: ((line: string) => void) | undefined
  /** Instead of the one that the seed picks. */
  readonly profile?: ProfileName | undefined
}

/** One run: faults for a while, then none, and then everything must come right. Whatever is thrown on the way is what was found. */
export function runSeed(seed: number, { trace, profile: wanted }: RunOptions = {}): Outcome {
  const random = new Random(seed)
  const picked = random.pick(Object.keys(PROFILES) as ProfileName[])
  const name = wanted ?? picked
  const profile: Profile = PROFILES[name]
  const world = new World(random, settingsOf(random, profile, trace))
  trace?.(`seed ${seed}, profile ${name}, ${world.places.length} agents, ${world.settings.durability}`)
  const violation = findViolation(() => play(world, profile))
  if (violation !== undefined) trace?.(`${world.timeline.now.toFixed(1).padStart(9)}  ✘  ${violation}`)
  const { timeline, api, truth } = world
  return { seed, profile: name, violation, steps: timeline.steps, lasted: timeline.now, epochs: api.current.epoch, counts: truth.counts }
}

function settingsOf(random: Random, profile: Profile, trace: Settings['trace']): Settings {
  const agents = ['a', 'b', 'c'].slice(0, random.pick(profile.agents))
  return {
    timers: random.pick([FAST_TIMERS, TIGHT_TIMERS]),
    durability: random.chance(0.25) ? 'Strict' : 'Available',
    agents,
    inSync: Math.min(agents.length, random.pick(profile.inSync)),
    trimFrom: profile.trims ? random.pick([4, 12]) : Number.POSITIVE_INFINITY,
    firstIsSlow: profile.firstIsSlow ?? false,
    slowDeliveries: profile.slowDeliveries ?? 0.1,
    trace,
  }
}

function findViolation(play: () => void): string | undefined {
  try {
    play()
    return undefined
  } catch (error) {
    if (error instanceof Violation) return error.message
    // The modules refuse what must never be asked of them.
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}

function play(world: World, profile: Profile): void {
  for (const [i, place] of world.places.entries()) {
    const delay = i === 0 ? 0 : (profile.othersStartAfter ?? 0)
    world.timeline.after(delay + world.random.between(0, 400), () => world.start(place))
  }
  const client = keepSubmitting(world)
  const adversary = new Adversary(world, profile)
  world.run(profile.lasts ?? FAULTY_FOR)
  adversary.stop()
  client.stop()
  recover(world)
  if (world.random.chance(0.25)) loseThePrimary(world)
}

function keepSubmitting(world: World): { readonly stop: () => void } {
  let goesOn = true
  const mean = world.random.pick([150, 500, 900])
  const submit = (): void => {
    if (!goesOn) return
    for (const { process } of world.places) process?.submit()
    world.timeline.after(world.random.between(0.1, 1.9) * mean, submit)
  }
  submit()
  return { stop: () => (goesOn = false) }
}

/** L1. Well is what is well for a promise: until then somebody might still claim. */
function recover(world: World): void {
  const end = world.timeline.now + HEALED_WITHIN
  let missing = whatIsMissing(world)
  let wellSince = world.timeline.now
  while (world.timeline.now - wellSince < world.settings.timers.promise) {
    world.run(500)
    force(world)
    missing = whatIsMissing(world)
    if (missing.length > 0) wellSince = world.timeline.now
    if (world.timeline.now >= end) throw new Violation('L1', `${HEALED_WITHIN / 1_000} s after the last fault ${missing.join('; ')}`)
  }
}

/** Promise, claim, wait for the kernel, and for a hang what it takes to be sure of it (section 4), with the clocks that make it longest. */
const TAKEN_OVER_WITHIN = 9_000

/** L1: one agent that is lost for good, in whatever way, costs the shard a promise and a promotion. */
function loseThePrimary(world: World): void {
  const primary = world.places.find(({ process }) => process?.state.role.kind === 'primary')
  if (!primary?.process) throw new Error('a shard that is well must have a primary')
  const how = world.random.pick(['dies', 'ends in order', 'loops', 'its disk hangs', 'pauses'] as const)
  world.note(primary.agent, `${how}, for good`)
  primary.isLost = true
  if (how === 'dies') world.stop(primary, world.random.chance(0.5))
  else if (how === 'ends in order') endInOrder(world, primary)
  else if (how === 'loops') primary.process.stalledSince = primary.node.clock
  else if (how === 'pauses') primary.process.pause()
  else {
    primary.volume.hang(10 * TAKEN_OVER_WITHIN)
    // What does not write does not notice.
    primary.process.submit()
  }
  const end = world.timeline.now + TAKEN_OVER_WITHIN
  const isTakenOver = (): boolean =>
    world.places.some(
      (place) => place !== primary && place.process && place.node.holdsAddress && mayAct(place.process.state, place.node.clock),
    )
  while (!isTakenOver()) {
    if (world.timeline.now >= end)
      throw new Violation('L1', `${TAKEN_OVER_WITHIN / 1_000} s after ${primary.agent} was lost (${how}) nobody acts in its place`)
    world.run(250)
  }
}

/** While it hands over it is not lost yet. */
function endInOrder(world: World, place: World['places'][number]): void {
  FAULTS.endInOrder(world, place)
  while (place.isEnding) world.run(50)
}

function whatIsMissing({ places, truth, api }: World): readonly string[] {
  const missing: string[] = []
  if (!places.some(({ process, node }) => process && mayAct(process.state, node.clock))) missing.push('nobody may act')
  if (!places.some(({ node }) => node.holdsAddress)) missing.push('nobody holds the address')
  const undelivered = truth.undelivered()
  if (undelivered.length > 0) missing.push(`messages ${undelivered.join(', ')} are not delivered`)
  for (const { agent, volume, process } of places) {
    if (!includes(api.current.inSync, { instance: agent, copy: volume.copy })) missing.push(`${volume.copy} is not in the set`)
    if (volume.aside.length > 0) missing.push(`${volume.copy} has still set aside ${volume.aside.length}`)
    if (process?.state.trouble) missing.push(`${agent} reports ${process.state.trouble}`)
  }
  return missing
}
