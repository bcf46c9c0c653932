import { type Copy, type RecordContent, sameSet, setOf, type ShardRecord } from '#agent/contract/record.ts'

export * from '#agent/contract/record.ts'

/**
 * What may stand in the record (../contract/record.ts) while own writes are not settled (R3). What must never happen: a set that counts before it is
 * known to have won, or one that is forgotten while it may still win.
 */

/**
 * What an agent knows of the record: the last GET that was answered, and its own writes that may still be applied. One call at a time:
 * each GET is sent after the call before it was answered or given up, so answers are in the order of the record's versions.
 *
 *   write sent ─▶ unsettled ──GET shows another version than its base──▶ settled (won or can no longer win)
 *                    ▲──────────GET shows its base: it may still land──────┘
 *
 * A 409, a timeout, a closed connection and a watch event settle nothing.
 */
export type RecordView = { readonly known?: ShardRecord; readonly unsettled: readonly RecordWrite[] }
export type RecordWrite = { readonly base: string; readonly content: RecordContent }

export function recordRead(view: RecordView, record: ShardRecord): RecordView {
  return { known: record, unsettled: view.unsettled.filter((write) => write.base === record.version) }
}

/** To be kept before the write is sent. Equal writes are one: at most one of them can be applied. */
export function writeSent(view: RecordView, write: RecordWrite): RecordView {
  const others = view.unsettled.filter((one) => one.base !== write.base || !sameSet(one.content.inSync, write.content.inSync))
  return { ...view, unsettled: [...others, write] }
}

/** R3: the set as last known, and every set that an own unsettled write may have put there. `counted` are those about to be added (R7). */
export function effectiveSet(view: RecordView, counted: readonly Copy[]): readonly Copy[] {
  return setOf([...(view.known?.inSync ?? []), ...view.unsettled.flatMap((write) => write.content.inSync), ...counted])
}

/**
 * The set a claimer writes (R5): the set it read without the old holder's copies, or with them if the old holder has said itself that it is
 * over (R6). The claimer's own copy is in it either way.
 */
export function claimedSet(record: ShardRecord, own: Copy, heardOver: number): readonly Copy[] {
  const renounced = heardOver === record.epoch
  return setOf([...record.inSync.filter((copy) => renounced || copy.instance !== record.holder.instance), own])
}
