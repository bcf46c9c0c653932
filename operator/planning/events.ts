import { type ConditionType, findCondition } from '#crds/conditions.ts'
import type { Condition } from '#crds/meta.ts'
import type { EventNote, ObjectRef } from './change.ts'

/**
 * Events for what changed between two sets of conditions, in the same words. Nothing for a change of the message alone: counts in it may change
 * every few seconds.
 */

/** What people want to see happen; the others are in the summary when they matter. */
const TOLD: readonly ConditionType[] = ['Ready', 'AddressesAssigned', 'PoolAccepted']

/** Of a stream besides; its instances would say the same again. */
const TOLD_OF_STANDBYS: readonly ConditionType[] = ['InSync', 'FailoverPossible', 'AcceptingAlone']

/** What Ready is False for in an orderly course: nobody must be woken for it, and what goes wrong later is told then. */
const ORDERLY: ReadonlySet<string> = new Set(['PodTerminating'])

export function planEvents(
  regarding: ObjectRef,
  before: readonly Condition[] | undefined,
  after: readonly Condition[] | undefined,
): readonly EventNote[] {
  const isStalled = findCondition(after, 'Stalled')?.status === 'True'
  const standbys =
    regarding.kind === 'SendingStream' ? TOLD_OF_STANDBYS.flatMap((type) => tellOfStandbys(regarding, type, before, after)) : []
  const told = TOLD.flatMap((type): EventNote[] => {
    const [was, is] = [findCondition(before, type), findCondition(after, type)]
    if (is === undefined || isAsBefore(was, is)) return []
    const isWorse = is.status !== 'True' && (isStalled || was?.status === 'True')
    // On the way up the reason changes every second; and the summary repeats what a specific condition has just said.
    if (type === 'Ready' && is.status !== 'True' && (!isWorse || isToldBy(after, before, is.reason))) return []
    return [{ regarding, type: isWorse ? gravityOf(is) : 'Normal', reason: is.reason, action: 'Reconcile', note: is.message || is.reason }]
  })
  return [...told, ...standbys]
}

/** Nothing while a shard is being made: what it becomes, Ready says. */
function tellOfStandbys(
  regarding: ObjectRef,
  type: ConditionType,
  before: readonly Condition[] | undefined,
  after: readonly Condition[] | undefined,
): readonly EventNote[] {
  const [was, is] = [findCondition(before, type), findCondition(after, type)]
  if (was === undefined || was.status === 'Unknown' || is === undefined || is.status === was.status) return []
  const good = type === 'AcceptingAlone' ? 'False' : 'True'
  const gravity = is.status === good ? 'Normal' : 'Warning'
  return [{ regarding, type: gravity, reason: is.reason, action: 'Reconcile', note: is.message || is.reason }]
}

const gravityOf = ({ reason }: Condition): EventNote['type'] => (ORDERLY.has(reason) ? 'Normal' : 'Warning')

const isAsBefore = (was: Condition | undefined, is: Condition): boolean => was?.status === is.status && was.reason === is.reason

const isToldBy = (after: readonly Condition[] | undefined, before: readonly Condition[] | undefined, reason: string): boolean =>
  TOLD.filter((type) => type !== 'Ready').some((type) => {
    const [was, is] = [findCondition(before, type), findCondition(after, type)]
    return is?.reason === reason && (was?.reason !== reason || was.status !== is.status)
  })
