import { formatTime } from '#crds/conditions.ts'
import type { ReplicationStatus } from '#crds/replication.ts'
import type { MemberReport } from './replication/member/member.ts'
import type { Requests } from './shard-requests.ts'

/** What an instance of a shard says of itself on its MTAInstance. Pure. */

export type MemberFacts = {
  readonly copyId: string
  readonly incarnation: string
  /** The highest epoch on its disk: until the first word of the coordinator. */
  readonly seen: number
  /** Messages that wait to be handed over. */
  readonly setAside: number
  readonly report: MemberReport
  /** What was asked for last: which value a refusal is about. */
  readonly asked: Requests
}

export function buildReplicationStatus({ copyId, incarnation, seen, setAside, report, asked }: MemberFacts): ReplicationStatus {
  const { facts, acceptedAlone, lastSequence } = report
  return {
    copyId,
    incarnation,
    role: facts?.role ?? 'Standby',
    epoch: facts?.epoch ?? seen,
    lastSequence,
    acceptedAlone,
    setAside,
    ...factsOf(report),
    ...refusalOf(report, asked),
  }
}

function factsOf(report: MemberReport): Partial<ReplicationStatus> {
  const { role, record, trouble, lastChange } = report.facts ?? {}
  const lagEntries = lagOf(report)
  return {
    // A standby reads the record when it wants to claim: what it knows of the set is old.
    ...(record && role === 'Primary' && { inSync: [...new Set(record.inSync.map(({ instance }) => instance))].toSorted() }),
    ...(lagEntries !== undefined && { lagEntries }),
    ...(trouble && { trouble }),
    ...(lastChange && {
      lastFailover: {
        ...lastChange,
        at: formatTime(lastChange.at),
        durationMillis: Math.round(lastChange.durationMillis),
        ...(report.takenOver !== undefined && { messages: report.takenOver }),
      },
    }),
  }
}

function refusalOf({ refusal }: MemberReport, asked: Requests): Pick<ReplicationStatus, 'refusal'> {
  if (refusal === undefined) return {}
  const of = refusal.request === 'Switchover' ? asked.switchover : asked.promotion
  return { refusal: { ...refusal, of: of ?? '' } }
}

/** Of a primary: what the slowest lacks of those whose word is needed. A standby knows only what it has been sent. */
function lagOf({ facts, lastSequence }: MemberReport): number | undefined {
  if (facts?.role !== 'Primary') return undefined
  const confirmed = facts.followers.filter(({ needed }) => needed).map((follower) => follower.confirmed)
  return confirmed.length === 0 ? 0 : Math.max(0, lastSequence - Math.min(...confirmed))
}
