import type { ConditionInput, ConditionType } from '#crds/conditions.ts'
import type { Condition } from '#crds/meta.ts'

/** What was found about one aspect, and who can change it. Conditions are written from findings, the summary from all of them. */
export type Finding = Omit<ConditionInput, 'type'> & {
  readonly type: ConditionType | 'PodReady' | 'Children' | 'Mode' | 'Writes'
  /** None: nothing is wrong. Wait: it may come right by itself. Admin: it will not. */
  readonly cure: 'None' | 'Wait' | 'Admin'
}

export const good = (type: Finding['type'], reason: string, message: string): Finding => ({
  type,
  status: 'True',
  reason,
  message,
  cure: 'None',
})
export const waits = (type: Finding['type'], reason: string, message: string): Finding => ({
  type,
  status: 'False',
  reason,
  message,
  cure: 'Wait',
})
export const stuck = (type: Finding['type'], reason: string, message: string): Finding => ({
  type,
  status: 'False',
  reason,
  message,
  cure: 'Admin',
})
export const unknown = (type: Finding['type'], reason: string, message: string): Finding => ({
  type,
  status: 'Unknown',
  reason,
  message,
  cure: 'Wait',
})

/** Admission, quota or Pod security of the namespace stand against what we want to write: the API server's own words say it best. */
export const judgeRefusals = (refused: readonly string[]): readonly Finding[] =>
  refused.length === 0 ? [] : [stuck('Writes', 'Refused', `the API server refused: ${refused.join('; ')}`)]

export type Word = { readonly reason: string; readonly message: string }

/**
 * Ready, Reconciling and Stalled. What only an admin can cure is named first, then what is unknown, then the first in order: one cause often makes
 * several findings. Unknown is never Ready. An object that had no conditions so far is not yet False, but Unknown.
 */
export function summarise(findings: readonly Finding[], well: Word, before: readonly Condition[] | undefined): readonly ConditionInput[] {
  const bad = findings.filter((finding) => finding.status !== 'True')
  const worst = bad.find(({ cure }) => cure === 'Admin') ?? bad.find(({ status }) => status === 'Unknown') ?? bad[0]
  if (worst === undefined) {
    return [
      { type: 'Ready', status: 'True', ...well },
      { type: 'Reconciling', status: 'False', ...well },
      { type: 'Stalled', status: 'False', ...well },
    ]
  }
  const { reason, message, cure } = worst
  const isFirstSight = before === undefined || before.length === 0
  return [
    { type: 'Ready', status: isFirstSight ? 'Unknown' : worst.status, reason, message },
    { type: 'Reconciling', status: cure === 'Wait' ? 'True' : 'False', reason, message },
    { type: 'Stalled', status: cure === 'Admin' ? 'True' : 'False', reason, message },
  ]
}
