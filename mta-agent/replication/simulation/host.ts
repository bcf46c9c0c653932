import type { AgentState, RoleEvent } from '../agent-state.ts'
import type { Millis } from '../timers.ts'
import type { Node } from './node.ts'
import type { Scene } from './scene.ts'
import type { Volume } from './volume.ts'

/** What the parts of a process (mail, both ends of a session) see of it. */
export type Host = {
  readonly agent: string
  readonly scene: Scene
  readonly node: Node
  readonly volume: Volume
  readonly state: AgentState
  readonly isAlive: boolean
  /** Gives an event to the role, with the time at which it gets there. */
  readonly feed: (event: (at: Millis) => RoleEvent) => void
  /** Does something as this process: later if it is paused, never if it is dead. What has the same source stays in order. */
  readonly run: (source: string, work: () => void) => void
}
