import type { Condition } from './meta.ts'

/** Condition types and reasons, and the one way to write them. */

/** On all three kinds, read by kubectl wait, kstatus, Helm and Argo CD. */
export type SummaryType = 'Ready' | 'Reconciling' | 'Stalled'
/** Written by the operator on MTAInstance. */
export type InstanceType = 'AddressesAssigned' | 'VolumeBound' | 'SecretsFound' | 'PodScheduled' | 'PodRunning' | StandbyType
/** Written by the operator where there are standbys: of an instance whether its copy is in sync, the others of its shard; of a stream the worst of them. */
export type StandbyType = 'InSync' | 'FailoverPossible' | 'AcceptingAlone'
/** Written by the agent on its own MTAInstance. */
export type AgentType = 'Accepting' | 'Delivering' | 'AddressesPresent' | 'StorageAvailable' | 'CredentialsLoaded' | 'Drained'
/** Written by the operator on SendingStream. */
export type StreamType = 'PoolAccepted' | 'InstancesReady' | StandbyType
export type ConditionType = SummaryType | InstanceType | AgentType | StreamType

export type ConditionInput = {
  readonly type: ConditionType
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

/** `now` in the form metav1.Time has: RFC 3339, whole seconds, UTC. */
export const formatTime = (millis: number): string => `${new Date(millis).toISOString().slice(0, 19)}Z`

/**
 * Wanted conditions, with the transition time of a condition whose status did not change kept from `before`.
 * Sorted by type, so that equal findings make equal documents and cause no write.
 */
export function mergeConditions(
  before: readonly Condition[] | undefined,
  wanted: readonly ConditionInput[],
  generation: number | undefined,
  now: number,
): Condition[] {
  const known = new Map((before ?? []).map((condition) => [condition.type, condition]))
  return wanted
    .map((input): Condition => {
      const old = known.get(input.type)
      return {
        ...input,
        ...(generation === undefined ? {} : { observedGeneration: generation }),
        lastTransitionTime: old?.status === input.status ? old.lastTransitionTime : formatTime(now),
      }
    })
    .toSorted((a, b) => (a.type < b.type ? -1 : 1))
}

export const findCondition = (conditions: readonly Condition[] | undefined, type: ConditionType): Condition | undefined =>
  conditions?.find((condition) => condition.type === type)
