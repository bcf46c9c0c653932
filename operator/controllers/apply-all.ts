import type { Applied, Change } from '#operator/planning/change.ts'

/** The changes of a plan, one after the other: their order is part of the plan. */

export type ApplyPorts = { applyChange(change: Change, signal: AbortSignal): Promise<Applied> }

/** What was refused may be allowed later, without any object of ours changing: a quota, a label of the namespace. */
export const REFUSED_RECHECK_MILLIS = 30_000

/** Ends at the first refusal, for what follows may build upon it. Gives what the API server said. */
export async function applyAll(ports: ApplyPorts, changes: readonly Change[], signal: AbortSignal): Promise<readonly string[]> {
  for (const change of changes) {
    const applied = await ports.applyChange(change, signal)
    if (applied.kind === 'refused') return [applied.message]
  }
  return []
}
