import type { Millis } from '../timers.ts'
import type { Fate } from './api.ts'
import type { Place, World } from './world.ts'

/** What can befall an agent. Each has a length of its own choosing; what must end for the shard to go on ends with `heal`. */
export const FAULTS = {
  crash: (world, place) => goDown(world, place, false),
  powerCut: (world, place) => goDown(world, place, true),
  pause: (world, place) => {
    const { process } = place
    if (!process || process.isPaused) return
    const duration = someDuration(world)
    world.note(place.agent, `is paused for ${Math.round(duration)} ms`)
    process.pause()
    world.timeline.after(duration, () => {
      if (place.process === process && process.isPaused) world.note(place.agent, 'wakes')
      process.resume()
    })
  },
  stall: (world, place) => {
    const { process } = place
    if (!process || process.stalledSince !== undefined) return
    world.note(place.agent, 'its main loop hangs')
    process.stalledSince = place.node.clock
    world.timeline.after(someDuration(world), () => (process.stalledSince = undefined))
  },
  diskHang: (world, place) => {
    world.note(place.agent, 'its disk hangs')
    place.volume.hang(someDuration(world))
  },
  breakSessions: (world, place) => {
    world.note(place.agent, 'its sessions break')
    for (const other of world.places) world.network.breakBetween(place.agent, other.agent)
  },
  cutOff: (world, place) => {
    const other = world.random.pick(world.places.filter((one) => one !== place))
    cutBetween(world, place, other)
  },
  isolate: (world, place) => {
    for (const other of world.places) if (other !== place) cutBetween(world, place, other)
  },
  apiOut: (world, place) => breakApi(world, [place]),
  apiOutForAll: (world) => breakApi(world, world.places),
  apiLate: (world, place) => foretell(world, place, 'late'),
  apiLost: (world, place) => foretell(world, place, 'lost'),
  apiAnswerLost: (world, place) => foretell(world, place, 'answerLost'),
  loseDisk: (world, place) => {
    world.replaceDisk(place, undefined)
    restartAfter(world, place)
  },
  snapshot: (_, place) => {
    place.snapshot = place.volume.cloneAs('snapshot')
  },
  restoreDisk: (world, place) => {
    world.replaceDisk(place, place.snapshot ?? place.volume)
    restartAfter(world, place)
  },
  cloneDisk: (world, place) => {
    world.replaceDisk(place, world.random.pick(world.places.filter((one) => one !== place)).volume)
    restartAfter(world, place)
  },
  drift: (_, place) => place.node.changeRate(),
  switchover: (world) => {
    for (const { agent, process } of world.places) {
      if (process?.state.role.kind !== 'primary') continue
      world.note(agent, 'is asked for a switchover')
      process.run('operator', () => process.feed((at) => ({ kind: 'switchover', at })))
    }
  },
  callOff: (_, { process }) => process?.run('operator', () => process.feed((at) => ({ kind: 'switchoverCalledOff', at }))),
} satisfies Record<string, (world: World, place: Place) => void>

export type Fault = keyof typeof FAULTS

function goDown(world: World, place: Place, power: boolean): void {
  world.stop(place, power)
  restartAfter(world, place)
}

function restartAfter(world: World, place: Place): void {
  // Some are back within what others have promised, some long after.
  const delay = world.random.chance(0.5) ? world.random.between(1, 500) : someDuration(world)
  world.timeline.after(delay, () => world.start(place))
}

function cutBetween(world: World, one: Place, other: Place): void {
  const duration = someDuration(world)
  const ways = world.random.pick(['both', 'both', 'there', 'back'])
  world.note(one.agent, `nothing passes between it and ${other.agent} (${ways}) for ${Math.round(duration)} ms`)
  if (ways !== 'back') world.network.cut(one.agent, other.agent, duration)
  if (ways !== 'there') world.network.cut(other.agent, one.agent, duration)
}

function breakApi(world: World, places: readonly Place[]): void {
  const duration = someDuration(world)
  for (const { agent } of places) {
    world.note(agent, `has no API server for ${Math.round(duration)} ms`)
    world.api.breakFor(agent, duration)
  }
}

function foretell(world: World, { agent }: Place, fate: Fate): void {
  world.note(agent, `its next call will be ${fate}`)
  world.api.foretell(agent, fate)
}

/** Around the lengths at which something is decided. */
export function someDuration({ random, settings }: World): Millis {
  const { call, right, promise, removeAfter } = settings.timers
  const around = random.pick([20, call, removeAfter, removeAfter, right, promise, promise, 2 * promise, 4 * promise])
  return around * random.between(0.7, 1.3)
}

/** Everything that is down comes back; what is lost stays lost. */
export function heal(world: World): void {
  world.note('-', 'faults end')
  world.network.heal()
  world.api.heal()
  for (const place of world.places) {
    place.volume.hang(0)
    world.start(place)
    if (!place.process) continue
    place.process.stalledSince = undefined
    place.process.resume()
  }
}
