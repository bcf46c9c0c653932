import type { Millis } from '../timers.ts'
import type { Fate } from './api.ts'
import type { Place, World } from './world.ts'

/** What can befall an agent. Each has a length of its own choosing; what must end for the shard to go on ends with `heal`. */
export const FAULTS = {
  crash: (world, place) => goDown(world, place, false),
  powerCut: (world, place) => goDown(world, place, true),
  endInOrder,
  fillDisk: (world, place) => {
    const duration = someDuration(world)
    world.note(place.agent, `its disk is full for ${Math.round(duration)} ms`)
    place.volume.fill(duration)
  },
  pause: (world, place) => pause(world, place, someDuration(world)),
  stall: (world, place) => {
    const { process } = place
    if (!process || process.stalledSince !== undefined) return
    world.note(place.agent, 'its main loop hangs')
    process.stalledSince = place.node.clock
    world.timeline.after(someDuration(world), () => {
      if (!place.isLost) process.stalledSince = undefined
    })
  },
  diskHang: (world, place) => {
    world.note(place.agent, 'its disk hangs')
    place.volume.hang(someDuration(world))
  },
  breakSessions,
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
  apiParked: (world, place) => foretell(world, place, 'parked'),
  /** A claim or a set write is under way when its writer dies, and lands when it is back. */
  parkedByTheDead: (world, place) => {
    foretell(world, place, 'parked')
    world.timeline.after(world.random.between(0.1, 30), () => {
      world.stop(place, false)
      world.timeline.after(world.random.between(1, 400), () => world.start(place))
    })
  },
  release: (world) => world.api.release(),
  /** So that nothing keeps its followers from reading what has landed. */
  releaseAndIsolate: (world, place) => {
    world.api.release()
    for (const other of world.places)
      if (other !== place) cutBetween(world, place, other, world.settings.timers.call * world.random.between(1, 4))
    breakSessions(world, place)
  },
  /** What is sent to it does not arrive; what it sends does. */
  deafen: (world, place) => deafen(world, place, someDuration(world)),
  /** What it sends arrives late, on connections that do not break. */
  mute: (world, place) => mute(world, place, someDuration(world)),
  /** Nobody answers the primary, and it stops or dies while the rest of its right runs. */
  corner: (world) => {
    const place = primaryOf(world)
    if (!place) return
    const { right, promise } = world.settings.timers
    world.note(place.agent, 'is cornered: no links, no API server')
    cutOffFor(world, place, 2 * promise)
    world.api.breakFor(place.agent, 2 * promise)
    world.timeline.after(world.random.between(0.3, 1.1) * right, () => strike(world, place, world.random.pick(['pause', 'crash', 'drift'])))
  },
  /** Nobody has promised anything to the primary for long when its process ends, and its node goes on. */
  dieAlone: (world) => {
    const place = primaryOf(world)
    if (!place) return
    const { promise } = world.settings.timers
    cutOffFor(world, place, 4 * promise)
    world.timeline.after(promise * world.random.between(1.2, 2), () => {
      world.stop(place, false)
      world.timeline.after(promise * world.random.between(3, 4), () => world.start(place))
    })
  },
  /** The primary will not learn for long that it was deposed, and others can reach it. */
  forget: (world) => {
    const place = primaryOf(world)
    if (!place) return
    const { promise } = world.settings.timers
    const away = promise * world.random.between(1.1, 1.6)
    world.note(place.agent, `has no links for ${Math.round(away)} ms, and no API server for longer`)
    cutOffFor(world, place, away)
    world.api.breakFor(place.agent, away + promise * world.random.between(0.5, 2))
  },
  crashSoon: (world, place) => {
    world.timeline.after(world.random.between(50, 900), () => {
      world.stop(place, world.random.chance(0.5))
      world.timeline.after(world.random.between(1, 300), () => world.start(place))
    })
  },
  /** The power goes while the disk is slow: what was written is lost. */
  loseWrites: (world, place) => {
    const within = world.random.between(5, 300)
    world.note(place.agent, 'its disk is slow')
    place.volume.hang(within + 1_000)
    world.timeline.after(within, () => goDown(world, place, world.random.chance(0.5)))
  },
  goneForLong: (world, place) => {
    world.stop(place, world.random.chance(0.5))
    world.timeline.after(world.settings.timers.promise * world.random.between(1.3, 2.5), () => world.start(place))
  },
  goneForLonger: (world, place) => {
    world.stop(place, world.random.chance(0.5))
    world.timeline.after(world.settings.timers.promise * world.random.between(3, 6), () => world.start(place))
  },
  pauseTillReplaced: (world, place) => pause(world, place, world.settings.timers.promise * world.random.between(1.3, 1.9)),
  pauseOthersForLong: (world, place) => {
    for (const other of world.places) if (other !== place) pause(world, other, world.settings.timers.promise * world.random.between(1, 1.6))
  },
  /** Long enough to be removed, and back before the primary forgets its answers. */
  isolateForLong: (world, place) => {
    const { removeAfter } = world.settings.timers
    for (const other of world.places) if (other !== place) cutBetween(world, place, other, removeAfter * world.random.between(1.3, 2))
  },
  deafenBriefly: (world, place) => deafen(world, place, world.settings.timers.call * world.random.between(1.2, 3)),
  pauseForLong: (world, place) => pause(world, place, world.settings.timers.promise * world.random.between(1, 1.6)),
  muteForLong: (world, place) => mute(world, place, world.settings.timers.promise * world.random.between(1.1, 2.5)),
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
  switchover: askSwitchover,
  /** Asked again and again, as early as it might be granted. */
  hurriedSwitchover: (world) => {
    for (let i = 0; i < 5; i++) world.timeline.after(world.random.between(100, 1_300), () => askSwitchover(world))
  },
  callOff: (_, { process }) => process?.run('operator', () => process.feed((at) => ({ kind: 'switchoverCalledOff', at }))),
} satisfies Record<string, (world: World, place: Place) => void>

export type Fault = keyof typeof FAULTS

function strike(world: World, place: Place, fault: 'pause' | 'crash' | 'drift'): void {
  FAULTS[fault](world, place)
}

const primaryOf = (world: World): Place | undefined => world.places.find(({ process }) => process?.state.role.kind === 'primary')

function cutOffFor(world: World, place: Place, duration: Millis): void {
  for (const other of world.places) {
    if (other === place) continue
    world.network.cut(place.agent, other.agent, duration)
    world.network.cut(other.agent, place.agent, duration)
  }
}

function pause(world: World, place: Place, duration: Millis): void {
  const { process } = place
  if (!process || process.isPaused) return
  world.note(place.agent, `is paused for ${Math.round(duration)} ms`)
  process.pause()
  world.timeline.after(duration, () => {
    if (place.isLost) return
    if (place.process === process && process.isPaused) world.note(place.agent, 'wakes')
    process.resume()
  })
}

function deafen(world: World, place: Place, duration: Millis): void {
  world.note(place.agent, `hears nothing for ${Math.round(duration)} ms`)
  for (const other of world.places) if (other !== place) world.network.hold(other.agent, place.agent, duration)
}

function mute(world: World, place: Place, duration: Millis): void {
  world.note(place.agent, `is not heard for ${Math.round(duration)} ms`)
  for (const other of world.places) if (other !== place) world.network.hold(place.agent, other.agent, duration)
}

function breakSessions(world: World, place: Place): void {
  world.note(place.agent, 'its sessions break')
  for (const other of world.places) world.network.breakBetween(place.agent, other.agent)
}

function askSwitchover(world: World): void {
  for (const { agent, process } of world.places) {
    if (process?.state.role.kind !== 'primary') continue
    world.note(agent, 'is asked for a switchover')
    process.run('operator', () => process.feed((at) => ({ kind: 'switchover', at })))
  }
}

/** As a rollout ends it: a primary hands over first, and goes when it follows its heir, or when its time is over. */
function endInOrder(world: World, place: Place): void {
  const { process } = place
  if (!process || place.isEnding) return
  world.note(place.agent, 'is told to end')
  place.isEnding = true
  const { promise, beacon } = world.settings.timers
  const graceEnds = world.timeline.now + promise * world.random.between(0.2, 2)
  const isPrimary = process.state.role.kind === 'primary'
  if (isPrimary) process.run('operator', () => process.feed((at) => ({ kind: 'switchover', at })))
  const look = (): void => {
    if (place.process !== process || !place.isEnding) return
    const { role } = process.state
    const follows = role.kind === 'standby' && role.following !== undefined
    if (isPrimary && !follows && world.timeline.now < graceEnds) world.timeline.after(20, look)
    else world.timeline.after(isPrimary ? 2 * beacon : 0, () => endNow(world, place, process))
  }
  look()
}

function endNow(world: World, place: Place, process: NonNullable<Place['process']>): void {
  // Something may hold up its last steps, or it is killed in the middle of them.
  const killedAfter = process.state.role.kind === 'standby' ? world.random.between(0, 300) : 0
  process.run('operator', () => {
    world.note(place.agent, 'ends in order')
    process.end()
  })
  world.timeline.after(killedAfter, () => {
    if (place.process === process) goDown(world, place, false)
  })
}

function goDown(world: World, place: Place, power: boolean): void {
  world.stop(place, power)
  restartAfter(world, place)
}

function restartAfter(world: World, place: Place): void {
  // Some are back within what others have promised, some long after.
  const delay = world.random.chance(0.5) ? world.random.between(1, 500) : someDuration(world)
  world.timeline.after(delay, () => world.start(place))
}

function cutBetween(world: World, one: Place, other: Place, duration = someDuration(world)): void {
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
    place.volume.fill(0)
    place.isEnding = false
    world.start(place)
    if (!place.process) continue
    place.process.stalledSince = undefined
    place.process.resume()
  }
}
