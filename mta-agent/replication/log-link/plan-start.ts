import { type EpochTable, partingPoint, planCatchUp } from '../follow.ts'
import { commonVersion, type Hello, type Refused, type Start, VERSIONS } from './messages.ts'

/** What the primary has to say to a hello. Pure. */

export type LogFacts = { readonly epoch: number; readonly forcedEpoch: number; readonly table: EpochTable; readonly firstSequence: number }

/** A standby that cannot undo all that the primary lacks gets a full copy, as one that lacks what was trimmed, or that has half a copy. */
export function planStart(hello: Hello, log: LogFacts): Start | Refused {
  const version = commonVersion(hello.versions)
  if (version === undefined) {
    const text = `the link must be of version ${VERSIONS.least} to ${VERSIONS.most}, was of ${hello.versions.least} to ${hello.versions.most}`
    return { kind: 'refused', because: 'NoCommonVersion', text }
  }
  const highest = hello.table.at(-1)?.epoch ?? 0
  if (highest > log.epoch) {
    return { kind: 'refused', because: 'OtherEpoch', text: `the standby's log must be of epoch ${log.epoch} at most, was of ${highest}` }
  }
  const parting = partingPoint(hello.table, log.table)
  const catchUp = planCatchUp(parting, log.firstSequence)
  const byLog = hello.complete && parting >= hello.cutsTo && catchUp.kind === 'entries'
  return { kind: 'start', version, table: log.table, forcedEpoch: log.forcedEpoch, with: byLog ? catchUp : { kind: 'fullCopy' } }
}
