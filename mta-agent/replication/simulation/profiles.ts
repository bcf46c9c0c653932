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
  readonly faults: Readonly<Partial<Record<Fault, number>>>
  /** Probability of a fault at each such moment. */
  readonly aim: Readonly<Partial<Record<Moment, number>>>
  readonly aimed: Readonly<Partial<Record<Fault, number>>>
  readonly switchoverEvery?: number
  /** An admin promotes by force when no living copy is in the set. */
  readonly forceEvery?: number
  /** How often a call to the API server goes wrong. */
  readonly apiTrouble?: number
  readonly trims?: boolean
}

const PROCESS = { crash: 3, powerCut: 2, pause: 3 } as const
const LINKS = { cutOff: 3, isolate: 2, breakSessions: 1 } as const
const API = { apiOut: 2, apiOutForAll: 1, apiLate: 3, apiLost: 2, apiAnswerLost: 3 } as const

export const PROFILES = {
  calm: { agents: [2, 3], inSync: [1, 2, 3], every: 12_000, faults: { ...PROCESS, ...LINKS, drift: 2 }, aim: {}, aimed: {} },
  crashes: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 3_500,
    faults: { crash: 4, powerCut: 3, drift: 1 },
    aim: { restarted: 0.15, won: 0.3, leading: 0.3, acknowledged: 0.03, delivered: 0.05, following: 0.1 },
    aimed: { crash: 3, powerCut: 3, pause: 1, breakSessions: 1 },
  },
  restarts: {
    agents: [2, 3],
    inSync: [1, 2, 3],
    every: 3_000,
    faults: { crash: 6, isolate: 2, cutOff: 2 },
    aim: { restarted: 0.4, claiming: 0.3, settingSet: 0.25, leading: 0.3 },
    aimed: { crash: 4, apiLate: 3, isolate: 2, pause: 2 },
  },
  beacons: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 2_500,
    faults: { pause: 4, isolate: 3, cutOff: 4, stall: 1, diskHang: 1, drift: 2 },
    aim: { beaconing: 0.02, promised: 0.02, claiming: 0.3, won: 0.2 },
    aimed: { pause: 4, cutOff: 3, isolate: 2, breakSessions: 2 },
  },
  api: {
    agents: [2, 3],
    inSync: [1, 2, 3],
    every: 3_500,
    faults: { ...API, isolate: 3, cutOff: 2, pause: 2 },
    aim: { claiming: 0.5, settingSet: 0.5, won: 0.2 },
    aimed: { ...API, pause: 2, crash: 1, isolate: 2 },
    apiTrouble: 0.1,
  },
  churn: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 2_500,
    faults: { isolate: 3, pause: 3, cutOff: 3, breakSessions: 2, crash: 1 },
    aim: { settingSet: 0.6, following: 0.1, claiming: 0.3 },
    aimed: { apiLate: 4, apiAnswerLost: 3, apiLost: 2, powerCut: 2, pause: 3, isolate: 3, crash: 2 },
  },
  joins: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 3_000,
    faults: { crash: 2, powerCut: 2, isolate: 2, breakSessions: 3, diskHang: 2 },
    aim: { welcomed: 0.2, following: 0.2, copying: 0.3, settingSet: 0.2 },
    aimed: { powerCut: 3, crash: 3, breakSessions: 3, diskHang: 2, pause: 2 },
    trims: true,
  },
  switchovers: {
    agents: [2, 3],
    inSync: [2, 3],
    every: 8_000,
    faults: { ...PROCESS, ...LINKS },
    aim: { switchoverBegun: 0.1, closing: 0.15, detaching: 0.2, overSaid: 0.3, overHeard: 0.3, claiming: 0.3, won: 0.3, leading: 0.2 },
    aimed: { ...PROCESS, ...LINKS, apiLate: 3, apiLost: 1, apiAnswerLost: 2, callOff: 1 },
    switchoverEvery: 1_500,
  },
  switchoversAndSets: {
    agents: [2, 3],
    inSync: [1, 2],
    every: 4_000,
    faults: { isolate: 2, pause: 2, cutOff: 2, breakSessions: 1 },
    aim: { settingSet: 0.5, overSaid: 0.2, overHeard: 0.2, claiming: 0.3 },
    aimed: { apiLate: 6, apiAnswerLost: 2, pause: 2, cutOff: 2, isolate: 1 },
    switchoverEvery: 1_200,
  },
  forces: {
    agents: [2, 3],
    inSync: [1, 1, 2],
    every: 3_500,
    faults: { crash: 3, powerCut: 3, isolate: 2 },
    aim: { forced: 0.2, leading: 0.25, following: 0.15, offered: 0.25, takenBack: 0.3, acknowledged: 0.05, claiming: 0.15 },
    aimed: { crash: 3, powerCut: 4, breakSessions: 2, pause: 1, isolate: 1 },
    forceEvery: 700,
  },
  disks: {
    agents: [2, 3],
    inSync: [1, 2, 3],
    every: 5_000,
    faults: { loseDisk: 3, restoreDisk: 2, cloneDisk: 2, snapshot: 3, crash: 2, powerCut: 1 },
    aim: { leading: 0.15, following: 0.08, takenBack: 0.15, settingSet: 0.15 },
    aimed: { loseDisk: 2, restoreDisk: 1, crash: 2, powerCut: 1 },
    forceEvery: 2_000,
    trims: true,
  },
  everything: {
    agents: [3],
    inSync: [1, 2, 3],
    every: 2_500,
    faults: { ...PROCESS, ...LINKS, ...API, stall: 1, diskHang: 1, loseDisk: 1, drift: 1, snapshot: 1, restoreDisk: 1 },
    aim: { claiming: 0.2, won: 0.15, settingSet: 0.2, leading: 0.15, overSaid: 0.2, overHeard: 0.2, following: 0.1, takenBack: 0.15 },
    aimed: { ...PROCESS, ...LINKS, ...API },
    switchoverEvery: 5_000,
    forceEvery: 3_000,
    apiTrouble: 0.03,
    trims: true,
  },
} satisfies Record<string, Profile>
export type ProfileName = keyof typeof PROFILES
