import { type EpochTable, partingPoint, planCatchUp } from '../follow.ts'
import { commonVersion, type Hello, type Refused, type Start, VERSIONS } from './messages.ts'

/** What the primary has to say to a hello. Pure. */

export type LogFacts = { readonly epoch: number; readonly forcedEpoch: number; readonly table: EpochTable; readonly firstSequence: number }

/** Refused is one that cannot be brought up by the log: it has half a copy, cannot undo all that the primary lacks, or lacks what was trimmed. */
export function planStart(hello: Hello, log: LogFacts): Start | Refused {
  const version = commonVersion(hello.versions)
  if (version === undefined) {
    const { least, most } = hello.versions
    return refused('NoCommonVersion', `the link must be of version ${VERSIONS.least} to ${VERSIONS.most}, was of ${least} to ${most}`)
  }
  const highest = hello.table.at(-1)?.epoch ?? 0
  if (highest > log.epoch) {
    return refused('OtherEpoch', `the standby's log must be of epoch ${log.epoch} at most, was of ${highest}`)
  }
  if (!hello.complete) return refused('NotFromHere', "the standby's copy must be complete, was not")
  const parting = partingPoint(hello.table, log.table)
  if (parting < hello.cutsTo) {
    return refused('NotFromHere', `the logs must part at ${hello.cutsTo}, where the standby can still cut, or later, parted at ${parting}`)
  }
  const catchUp = planCatchUp(parting, log.firstSequence)
  if (catchUp.kind === 'entries') return { kind: 'start', version, table: log.table, forcedEpoch: log.forcedEpoch, from: catchUp.from }
  return refused(
    'NotFromHere',
    `the logs must part at ${log.firstSequence - 1}, before which entries are trimmed, or later, parted at ${parting}`,
  )
}

const refused = (because: Refused['because'], text: string): Refused => ({ kind: 'refused', because, text })
