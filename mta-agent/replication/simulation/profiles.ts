import type { Fault } from './faults.ts'
import type { Moment } from './scene.ts'

/**
 * What kind of trouble a run is about. Faults at any time find little; so most are aimed at the moments where something is half done.
 */
export type Profile = {
  readonly agents: readonly number[]
  /** How many are in sync at the start. */
  readonly inSync: readonly number[]
  /** At any time, so often (mean, ms). */
  readonly every: number
  readonly faults: Weights
  readonly aim: Readonly<Partial<Record<Moment, Aim>>>
  readonly switchoverEvery?: number
  /** An admin promotes by force when no living copy is in the set. */
  readonly forceEvery?: number
  /** How often a call to the API server goes wrong. */
  readonly apiTrouble?: number
  readonly trims?: boolean
  /** How many of the deliveries take seconds, so that what is acknowledged stays undelivered for long; 0.1 if not said. */
  readonly slowDeliveries?: number
  /** Of the faults, in milliseconds. */
  readonly lasts?: number
  /** The first one's clock slow, the others' fast, both as far as they may be. */
  readonly firstIsSlow?: boolean
  /** The first is alone until then. */
  readonly othersStartAfter?: number
}

/** At a moment in the life of an agent. */
export type Aim = {
  readonly chance: number
  readonly faults: Weights
  /** How often it is not the agent itself that is struck; 0.3 if not said. */
  readonly others?: number
  /** How often it is struck in the middle of what it does, not a little later; 0.5 if not said. */
  readonly atOnce?: number
}

type Weights = Readonly<Partial<Record<Fault, number>>>

/** The same faults at several moments. */
function aimAt(chances: Readonly<Partial<Record<Moment, number>>>, faults: Weights, others = 0.3): Profile['aim'] {
  return Object.fromEntries(Object.entries(chances).map(([moment, chance]) => [moment, { chance, faults, others }]))
}

const PROCESS = { crash: 3, powerCut: 2, pause: 3 } as const
const LINKS = { cutOff: 3, isolate: 2, breakSessions: 1 } as const
const API = { apiOut: 2, apiOutForAll: 1, apiLate: 3, apiLost: 2, apiAnswerLost: 3 } as const

export const PROFILES = {
  calm: { agents: [2, 3], inSync: [1, 2, 3], every: 12_000, faults: { ...PROCESS, ...LINKS, drift: 2 }, aim: {} },
  crashes: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 3_500,
    faults: { crash: 4, powerCut: 3, drift: 1 },
    aim: aimAt(
      { restarted: 0.15, won: 0.3, leading: 0.3, acknowledged: 0.03, delivered: 0.05, following: 0.1 },
      { crash: 3, powerCut: 3, pause: 1, breakSessions: 1 },
    ),
  },
  restarts: {
    agents: [2, 3],
    inSync: [2, 2, 3],
    every: 4_000,
    lasts: 20_000,
    faults: { pauseForLong: 6, crash: 2, cutOff: 1 },
    aim: {
      claiming: { chance: 0.7, faults: { parkedByTheDead: 5, crash: 1 }, others: 0, atOnce: 1 },
      promisedWhileParked: { chance: 0.3, faults: { releaseAndIsolate: 3, release: 1 } },
      ...aimAt({ restarted: 0.1, leading: 0.1, following: 0.05 }, { crash: 2, breakSessions: 2, isolate: 1, pause: 1 }),
    },
  },
  beacons: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 2_500,
    faults: { pause: 4, isolate: 3, cutOff: 4, corner: 5, stall: 1, diskHang: 1, drift: 2 },
    aim: {
      refreshing: { chance: 0.05, faults: { pauseTillReplaced: 1 }, others: 0, atOnce: 1 },
      ...aimAt({ beaconing: 0.02, promised: 0.02, claiming: 0.3, won: 0.2 }, { pause: 4, cutOff: 3, isolate: 2, breakSessions: 2 }),
    },
  },
  corners: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 5_000,
    lasts: 20_000,
    faults: { corner: 1 },
    aim: {},
    firstIsSlow: true,
  },
  api: {
    agents: [2, 3],
    inSync: [1, 2, 3],
    every: 3_500,
    faults: { ...API, isolate: 3, cutOff: 2, pause: 2 },
    aim: aimAt({ claiming: 0.5, settingSet: 0.5, won: 0.2 }, { ...API, pause: 2, crash: 1, isolate: 2 }),
    apiTrouble: 0.1,
  },
  stale: {
    agents: [3],
    inSync: [3],
    every: 6_000,
    lasts: 20_000,
    faults: { forget: 1 },
    aim: aimAt({ following: 0.6 }, { crashSoon: 1 }, 0),
  },
  adds: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 3_500,
    faults: { isolateForLong: 6, breakSessions: 1 },
    firstIsSlow: true,
    lasts: 20_000,
    aim: {
      following: { chance: 0.5, faults: { deafenBriefly: 5, mute: 1 }, others: 0 },
      settingSet: { chance: 0.5, faults: { pauseForLong: 5, apiLate: 1 }, others: 0, atOnce: 0 },
    },
  },
  churn: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 2_500,
    faults: { isolate: 3, pause: 3, cutOff: 3, breakSessions: 2, crash: 1 },
    aim: aimAt(
      { settingSet: 0.6, following: 0.1, claiming: 0.3 },
      { apiLate: 4, apiAnswerLost: 3, apiLost: 2, powerCut: 2, pause: 3, isolate: 3, crash: 2 },
    ),
  },
  joins: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 3_000,
    faults: { crash: 2, powerCut: 2, isolate: 2, breakSessions: 3, diskHang: 2 },
    aim: aimAt(
      { welcomed: 0.2, following: 0.2, copying: 0.3, settingSet: 0.2 },
      { powerCut: 3, crash: 3, breakSessions: 3, diskHang: 2, pause: 2 },
    ),
    trims: true,
  },
  switchovers: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 8_000,
    faults: { ...PROCESS, ...LINKS, endInOrder: 2 },
    aim: aimAt(
      { switchoverBegun: 0.1, closing: 0.15, detaching: 0.2, overSaid: 0.4, overHeard: 0.3, claiming: 0.3, won: 0.3, leading: 0.4 },
      { ...PROCESS, ...LINKS, mute: 6, switchover: 4, apiLate: 3, apiLost: 1, apiAnswerLost: 2, callOff: 1 },
    ),
    switchoverEvery: 1_500,
  },
  leaves: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 2_000,
    faults: { endInOrder: 5, fillDisk: 4, isolate: 1, apiOut: 1 },
    aim: {
      settingSet: { chance: 0.3, faults: { apiLate: 3, apiAnswerLost: 2, apiLost: 1, apiParked: 2, crash: 1 }, others: 0, atOnce: 1 },
      claiming: { chance: 0.3, faults: { release: 2, apiLate: 1 }, others: 0, atOnce: 1 },
      ...aimAt(
        { leavingSaid: 0.3, leavingHeard: 0.4, following: 0.15 },
        { crash: 2, pause: 3, isolate: 2, mute: 2, deafen: 2, apiOut: 3, endInOrder: 3, fillDisk: 2 },
        0.6,
      ),
    },
    switchoverEvery: 5_000,
  },
  switchoversAndSets: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 4_000,
    faults: { isolate: 2, pause: 2, cutOff: 2, breakSessions: 1 },
    aim: aimAt(
      { settingSet: 0.5, overSaid: 0.2, overHeard: 0.2, claiming: 0.3 },
      { apiLate: 6, apiAnswerLost: 2, pause: 2, cutOff: 2, isolate: 1 },
    ),
    switchoverEvery: 1_200,
  },
  lateSets: {
    agents: [3],
    inSync: [2],
    every: 6_000,
    faults: { drift: 3, release: 1 },
    aim: {
      settingSet: { chance: 0.9, faults: { apiParked: 1 }, others: 0, atOnce: 1 },
      overSaid: { chance: 0.9, faults: { pauseOthersForLong: 1 }, others: 0, atOnce: 1 },
      claiming: { chance: 0.8, faults: { release: 4, apiLost: 1 }, others: 0, atOnce: 1 },
    },
    switchoverEvery: 1_500,
  },
  lateOver: {
    agents: [3],
    inSync: [3],
    every: 6_000,
    faults: { drift: 1, breakSessions: 1 },
    aim: { overSaid: { chance: 0.7, faults: { muteForLong: 1 }, others: 0, atOnce: 1 } },
    switchoverEvery: 1_500,
  },
  hasty: {
    agents: [3],
    inSync: [3],
    every: 12_000,
    lasts: 20_000,
    faults: { corner: 1, crash: 1 },
    aim: {
      refreshing: { chance: 0.04, faults: { crash: 2, pauseTillReplaced: 1 }, others: 0, atOnce: 0.3 },
      leading: { chance: 0.7, faults: { hurriedSwitchover: 1 }, others: 0 },
    },
    firstIsSlow: true,
  },
  forces: {
    agents: [2, 3],
    inSync: [1, 1, 2],
    every: 3_500,
    faults: { crash: 3, powerCut: 3, isolate: 2 },
    aim: aimAt(
      { forced: 0.2, leading: 0.25, following: 0.15, offered: 0.25, takenBack: 0.3, acknowledged: 0.05, claiming: 0.15 },
      { crash: 2, powerCut: 3, loseWrites: 4, goneForLong: 2, breakSessions: 2, pause: 1, isolate: 1 },
    ),
    forceEvery: 700,
  },
  hastyForces: {
    agents: [2],
    inSync: [1, 2],
    every: 9_000,
    lasts: 20_000,
    faults: { dieAlone: 1 },
    aim: aimAt({ leading: 0.5, takenBack: 0.2 }, { crash: 1 }, 0),
    firstIsSlow: true,
    forceEvery: 300,
  },
  handOvers: {
    agents: [2, 2, 3],
    inSync: [1],
    every: 6_000,
    faults: { goneForLong: 4, loseWrites: 2 },
    aim: {
      following: { chance: 0.5, faults: { goneForLong: 6, loseWrites: 1, breakSessions: 1 }, others: 0.8 },
      offered: { chance: 0.3, faults: { goneForLong: 2, loseWrites: 2, breakSessions: 1 }, others: 0.5 },
      takenBack: { chance: 0.6, faults: { loseWrites: 6, goneForLong: 1 }, others: 0.1, atOnce: 1 },
      ...aimAt({ leading: 0.1, forced: 0.1 }, { goneForLong: 1, crash: 2 }),
    },
    slowDeliveries: 0.8,
    othersStartAfter: 2_000,
    forceEvery: 300,
    lasts: 20_000,
  },
  copies: {
    agents: [2],
    inSync: [1],
    every: 5_000,
    faults: { goneForLong: 2, breakSessions: 1 },
    aim: {
      copying: { chance: 0.7, faults: { goneForLonger: 5, loseDisk: 1 }, others: 1 },
      ...aimAt({ forced: 0.1, claiming: 0.1, won: 0.4, leading: 0.3 }, { crash: 4, powerCut: 1 }, 0),
    },
    othersStartAfter: 2_000,
    forceEvery: 300,
    trims: true,
    lasts: 20_000,
  },
  disks: {
    agents: [2, 3],
    inSync: [1, 2, 3],
    every: 5_000,
    faults: { loseDisk: 3, restoreDisk: 2, cloneDisk: 2, snapshot: 3, crash: 2, powerCut: 1 },
    aim: aimAt(
      { leading: 0.15, following: 0.08, takenBack: 0.15, settingSet: 0.15 },
      { loseDisk: 2, restoreDisk: 1, crash: 2, powerCut: 1 },
    ),
    forceEvery: 2_000,
    trims: true,
  },
  everything: {
    agents: [3],
    inSync: [1, 2, 3],
    every: 2_500,
    faults: {
      ...PROCESS,
      ...LINKS,
      ...API,
      endInOrder: 2,
      fillDisk: 1,
      stall: 1,
      diskHang: 1,
      loseDisk: 1,
      drift: 1,
      snapshot: 1,
      restoreDisk: 1,
    },
    aim: aimAt(
      { claiming: 0.2, won: 0.15, settingSet: 0.2, leading: 0.15, overSaid: 0.2, overHeard: 0.2, following: 0.1, takenBack: 0.15 },
      { ...PROCESS, ...LINKS, ...API },
    ),
    switchoverEvery: 5_000,
    forceEvery: 3_000,
    apiTrouble: 0.03,
    trims: true,
  },
} satisfies Record<string, Profile>
export type ProfileName = keyof typeof PROFILES
