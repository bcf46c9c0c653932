import { formatTime, mergeConditions, type ConditionInput } from '#crds/conditions.ts'
import type { Condition } from '#crds/meta.ts'
import type { AgentStatus } from '#crds/mta-instance.ts'
import type { ReplicationStatus } from '#crds/replication.ts'
import type { AddressReport } from './managed-addresses.ts'
import { judgeAccepting, judgeDrained, type Activity, type Judgement } from './health.ts'

/**
 * What the agent says of itself on its MTAInstance. A change of meaning is written at once, numbers at most once in 10 s, and at rest nothing
 * is written at all. Mail never waits for any of it. planReport is pure; runReporting is the shell around it.
 */

export type Report = { readonly agent: AgentStatus; readonly conditions: readonly Condition[] }
/** A report that the API server has. */
export type Written = { readonly report: Report; readonly at: number }

export type ReportFacts = {
  readonly generation: number | undefined
  readonly version: string
  readonly activity: Activity
  readonly restartNeeded: readonly string[]
  /** Source addresses of the spec. */
  readonly wantedAddresses: readonly string[]
  /** Those on an interface of this node; of managed ones those that the address holder holds. */
  readonly presentAddresses: readonly string[]
  /** Of an instance that attaches its addresses itself. */
  readonly managed?: Pick<AddressReport, 'tried' | 'refused' | 'fault'>
  /** Those that connections are or may be opened from, removed ones with open connections included. */
  readonly usedAddresses: readonly string[]
  /** Those that the kernel would not bind to, with the error code. */
  readonly unbindable: readonly { readonly address: string; readonly code: string }[]
  readonly credentials: Judgement
  readonly storage: {
    readonly directory: string
    readonly freeBytes: number
    readonly volumeBytes: number
    /** Mail was turned away just now for lack of room. */
    readonly refusesMail: boolean
    readonly damagedMessages: number
  }
  /** Of an instance of a shard with standbys. */
  readonly replication?: ReplicationStatus
}

export type ReportPlan =
  | { readonly kind: 'write'; readonly report: Report }
  /** Something differs that may wait. */
  | { readonly kind: 'wait'; readonly until: number }
  | { readonly kind: 'nothing' }

const NUMBERS_EVERY = 10_000

/** `before`: what the API server has, undefined when nothing of this process. `conditions`: the ones it had when we came. */
export function planReport(before: Written | undefined, facts: ReportFacts, now: number, conditions?: readonly Condition[]): ReportPlan {
  const report = buildReport(before?.report.conditions ?? conditions, facts, now)
  if (before === undefined || meaningOf(before.report) !== meaningOf(report)) return { kind: 'write', report }
  if (JSON.stringify(before.report) === JSON.stringify(report)) return { kind: 'nothing' }
  return now - before.at >= NUMBERS_EVERY ? { kind: 'write', report } : { kind: 'wait', until: before.at + NUMBERS_EVERY }
}

function buildReport(before: readonly Condition[] | undefined, facts: ReportFacts, now: number): Report {
  const { messages, recipients, deferred, oldestAcceptedAt } = facts.activity.totals
  return {
    agent: {
      ...(facts.generation === undefined ? {} : { observedGeneration: facts.generation }),
      addresses: facts.usedAddresses.toSorted(),
      ...(facts.managed && { attachedAddresses: facts.presentAddresses.toSorted() }),
      queue: { messages, recipients, deferred },
      ...(oldestAcceptedAt === undefined ? {} : { oldestTime: formatTime(oldestAcceptedAt) }),
      version: facts.version,
      ...(facts.replication && { replication: facts.replication }),
    },
    conditions: mergeConditions(before, judgeConditions(facts), facts.generation, now),
  }
}

function judgeConditions(facts: ReportFacts): ConditionInput[] {
  const accepting = judgeAccepting(facts.activity)
  const stale = facts.restartNeeded.length === 0 ? '' : `; another process is needed for the changed ${facts.restartNeeded.join(', ')}`
  return [
    { type: 'Accepting', ...accepting, message: `${accepting.message}${stale}` },
    { type: 'Delivering', ...judgeDelivering(facts) },
    { type: 'AddressesPresent', ...judgeAddresses(facts) },
    { type: 'StorageAvailable', ...judgeStorage(facts) },
    { type: 'CredentialsLoaded', ...facts.credentials },
    { type: 'Drained', ...judgeDrained(facts.activity) },
  ]
}

function judgeDelivering({ activity, wantedAddresses, presentAddresses, unbindable }: ReportFacts): Judgement {
  if (activity.stopping) return { status: 'False', reason: 'Stopping', message: 'the process is stopping' }
  if (activity.member?.gate === 'Standby')
    return { status: 'False', reason: 'Standby', message: 'another instance of the shard delivers; this one keeps a copy' }
  if (activity.mode === 'Hold') return { status: 'False', reason: 'Held', message: 'mode is Hold: nothing is delivered' }
  const usable = presentAddresses.filter((address) => !unbindable.some((one) => one.address === address))
  if (wantedAddresses.length > 0 && usable.length === 0) {
    return { status: 'False', reason: 'NoAddress', message: 'none of the source addresses can be bound to on this node; mail waits' }
  }
  return { status: 'True', reason: 'Delivering', message: 'mail is delivered' }
}

function judgeAddresses({ wantedAddresses, presentAddresses, managed, unbindable }: ReportFacts): Judgement {
  const absent = wantedAddresses.filter((address) => !presentAddresses.includes(address))
  const missing = absent.filter((address) => managed?.tried.includes(address) ?? true)
  if (absent.length > 0 && missing.length === 0) {
    // Nothing is wrong with it: of a shard, one has them.
    return { status: 'True', reason: 'NotDue', message: 'the source addresses are attached when this instance may deliver, and not before' }
  }
  if (missing.length > 0) {
    const message = `must be on an interface of this node, are not: ${missing.toSorted().map(describeMissing(managed)).join(', ')}`
    return { status: 'False', reason: 'AddressesMissing', message }
  }
  if (unbindable.length > 0) {
    const message = `cannot be bound to: ${unbindable
      .map(({ address, code }) => `${address} (${code})`)
      .toSorted()
      .join(', ')}`
    return { status: 'False', reason: 'AddressesUnusable', message }
  }
  if (wantedAddresses.length === 0)
    return { status: 'True', reason: 'NoneWanted', message: 'the instance has no source addresses of its own' }
  return { status: 'True', reason: 'Present', message: 'every source address is on an interface of this node' }
}

function describeMissing(managed: ReportFacts['managed']): (address: string) => string {
  return (address) => {
    const refusal = managed?.refused.find((one) => one.address === address)
    const why = refusal === undefined ? managed?.fault : `${refusal.reason}: ${refusal.message}`
    return why === undefined ? address : `${address} (${why})`
  }
}

/** Numbers only while they matter: a report whose text changes with every message would never be at rest. */
function judgeStorage({ activity, storage }: ReportFacts): Judgement {
  const { directory, freeBytes, volumeBytes, refusesMail, damagedMessages } = storage
  const hasRoom = activity.room === 'room' && !refusesMail
  if (hasRoom && damagedMessages === 0) return { status: 'True', reason: 'Room', message: 'the queue volume has room' }
  if (hasRoom) {
    // All other mail flows, so it is no reason to take the agent for broken; but somebody must look at that disk.
    const message = `${damagedMessages} messages on ${directory} were damaged: the log of the agent names them, docs/queue.md says what to do`
    return { status: 'True', reason: 'MailDamaged', message }
  }
  const message = `${directory} must have room for messages: ${mebibytes(freeBytes)} MiB of ${mebibytes(volumeBytes)} MiB are free`
  return { status: 'False', reason: 'VolumeFull', message }
}

const mebibytes = (bytes: number): number => Math.floor(bytes / 1_048_576)

/** Everything but numbers, times and messages. */
function meaningOf({ agent, conditions }: Report): string {
  const { queue: _queue, oldestTime: _oldest, replication, ...meaning } = agent
  const { lastSequence: _last, lagEntries: _lag, acceptedAlone: _alone, setAside: _aside, ...role } = replication ?? {}
  return JSON.stringify([meaning, role, conditions.map(({ type, status, reason }) => [type, status, reason])])
}

export type ReportingPorts = {
  readonly facts: () => ReportFacts
  readonly write: (report: Report, signal: AbortSignal) => Promise<void>
  readonly clock: () => number
  /** Resolves after so many milliseconds, on a poke, or when the signal aborts. */
  readonly sleep: (millis: number, signal: AbortSignal) => Promise<void>
  readonly onFailure: (error: unknown) => void
  readonly conditions: readonly Condition[] | undefined
}

const LOOK_EVERY = 2_000
const MAX_WAIT_AFTER_FAILURE = 30_000

/** Runs until the signal aborts. A report that could not be written is made anew from the facts of then. */
export async function runReporting(ports: ReportingPorts, signal: AbortSignal): Promise<void> {
  let before: Written | undefined
  let failures = 0
  while (!signal.aborted) {
    const now = ports.clock()
    const plan = planReport(before, ports.facts(), now, ports.conditions)
    if (plan.kind === 'write') {
      try {
        await ports.write(plan.report, signal)
        before = { report: plan.report, at: now }
        failures = 0
      } catch (error) {
        if (signal.aborted) return
        failures++
        ports.onFailure(error)
      }
    }
    await ports.sleep(failures === 0 ? LOOK_EVERY : Math.min(MAX_WAIT_AFTER_FAILURE, LOOK_EVERY * 2 ** (failures - 1)), signal)
  }
}
