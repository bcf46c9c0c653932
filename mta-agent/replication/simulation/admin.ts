import { includes } from '../record.ts'
import type { Place, World } from './world.ts'

/**
 * R9, by an admin who says the truth and asks for it only where it is meant for: no living, complete copy is in the set, and whoever led is down. How
 * long a dead copy is waited for is the profile's choice.
 */
export function force(world: World): void {
  const { current } = world.api
  const living = world.places.filter(({ process }) => process !== undefined)
  if (living.some(({ agent, volume }) => volume.complete && includes(current.inSync, { instance: agent, copy: volume.copy }))) return
  if (living.some(({ process }) => process!.state.role.kind !== 'standby')) return
  const heir = best(world, living)
  if (!heir?.process) return
  const { process } = heir
  world.note(heir.agent, `is to be promoted by force over version ${current.version}`)
  process.run('admin', () =>
    process.feed((at) => ({ kind: 'force', at, force: { version: current.version, incompleteToo: !heir.volume.complete } })),
  )
  world.onMoment('forced', heir.agent)
}

/** Mostly one with a complete copy, if there is any. */
function best(world: World, living: readonly Place[]): Place | undefined {
  const complete = living.filter(({ volume }) => volume.complete)
  const candidates = complete.length > 0 && world.random.chance(0.7) ? complete : living
  return candidates.length > 0 ? world.random.pick(candidates) : undefined
}
