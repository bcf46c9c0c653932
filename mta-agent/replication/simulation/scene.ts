import type { Timers } from '../timers.ts'
import type { ApiServer } from './api.ts'
import type { Network } from './network.ts'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'
import type { Truth } from './truth.ts'

/** Where a fault is most likely to find a hole; faults.ts aims at these. */
export const MOMENTS = [
  'claiming',
  'won',
  'leading',
  'settingSet',
  'deposed',
  'switchoverAsked',
  'switchoverBegun',
  'closing',
  'detaching',
  'overSaid',
  'overHeard',
  'welcomed',
  'following',
  'copying',
  'beaconing',
  'refreshing',
  'promised',
  'promisedWhileParked',
  'acknowledged',
  'delivered',
  'offered',
  'takenBack',
  'restarted',
  'leavingSaid',
  'leavingHeard',
  'forced',
] as const
export type Moment = (typeof MOMENTS)[number]

/** What every part of the simulated world can reach. */
export type Scene = {
  readonly timeline: Timeline
  readonly random: Random
  readonly api: ApiServer
  readonly network: Network
  readonly truth: Truth
  readonly timers: Timers
  readonly durability: 'Strict' | 'Available'
  /** The lowest length from which a primary may trim; Infinity: never. */
  readonly trimFrom: number
  /** How many of the deliveries take seconds. */
  readonly slowDeliveries: number
  /** A chance for the adversary, in the middle of what the agent does. */
  readonly moment: (moment: Moment, agent: string) => void
  readonly trace: (agent: string, text: () => string) => void
  /** After every step of any agent. */
  readonly stepped: () => void
  /** The process that now runs on the node of this name. */
  readonly processOf: (agent: string) => Peer | undefined
  readonly peersOf: (agent: string) => readonly string[]
}

/** What another agent's process is to one that wants to follow it. */
export type Peer = { readonly accept: (from: string) => Accepting | undefined }
export type Accepting = Parameters<Network['connect']>[1] & {
  readonly joined: (connection: NonNullable<ReturnType<Network['connect']>>) => void
}
