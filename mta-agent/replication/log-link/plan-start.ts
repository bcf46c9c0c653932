import { type EpochTable, partingPoint, planCatchUp } from '../follow.ts'
import { commonVersion, type Hello, type Refused, VERSIONS } from './messages.ts'

/** What the primary has to say to a hello. Pure. */

export type LogFacts = { readonly epoch: number; readonly table: EpochTable; readonly firstSequence: number }

export type StartPlan = { readonly kind: 'entries'; readonly version: number; readonly from: number } | FullCopyPlan | Refused

/** `because`: for the log. */
export type FullCopyPlan = { readonly kind: 'fullCopy'; readonly version: number; readonly because: string }

/** By the log where that is possible. One with half a copy, that cannot undo all that the primary lacks, or that lacks what was trimmed gets a full copy. */
export function planStart(hello: Hello, log: LogFacts): StartPlan {
  const version = commonVersion(hello.versions)
  if (version === undefined) {
    const { least, most } = hello.versions
    return refused('NoCommonVersion', `the link must be of version ${VERSIONS.least} to ${VERSIONS.most}, was of ${least} to ${most}`)
  }
  const highest = hello.table.at(-1)?.epoch ?? 0
  if (highest > log.epoch) {
    return refused('OtherEpoch', `the standby's log must be of epoch ${log.epoch} at most, was of ${highest}`)
  }
  if (!hello.complete) return { kind: 'fullCopy', version, because: 'it has half a copy' }
  const parting = partingPoint(hello.table, log.table)
  if (parting < hello.cutsTo) {
    return { kind: 'fullCopy', version, because: `the logs part at ${parting}, and it can cut its own at ${hello.cutsTo} or later only` }
  }
  const catchUp = planCatchUp(parting, log.firstSequence)
  if (catchUp.kind === 'entries') return { version, ...catchUp }
  return { kind: 'fullCopy', version, because: `the logs part at ${parting}, and entries before ${log.firstSequence} are trimmed` }
}

const refused = (because: Refused['because'], text: string): Refused => ({ kind: 'refused', because, text })
