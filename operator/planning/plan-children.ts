import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { type Change, type Manifest, refTo } from './change.ts'
import { isCovered } from './diff.ts'
import * as children from './objects/stream-children.ts'
import { buildShardBudget } from './objects/shard-children.ts'
import { type Entry, shardsOf } from './roster.ts'
import { findObject, type FleetSnapshot, isControlledBy, isDeleting, type KubeObject } from './snapshot.ts'
import { leastAvailable } from './standbys/budget.ts'
import { isReplicated } from './standbys/shard.ts'

/** What a stream has once, however many instances it has. */

export type ChildPlan = { readonly changes: readonly Change[]; readonly foreign: readonly string[] }

/** The account and its rights before the instances that use them. */
export function planChildren(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): ChildPlan {
  const shards = isReplicated(fleet, stream) ? shardsOf(roster) : []
  const shape = { shards, instances: roster.map((entry) => entry.name) }
  const plans = [
    planChild(stream, fleet.serviceAccounts, children.buildServiceAccount(stream)),
    planChild(stream, fleet.roles, children.buildRole(stream, shape)),
    planChild(stream, fleet.roleBindings, children.buildRoleBinding(stream)),
    planChild(stream, fleet.services, children.buildService(stream, shape)),
    ...planBudgets(fleet, stream, roster).map((budget) => planChild(stream, fleet.disruptionBudgets, budget)),
  ]
  return {
    changes: [...plans.flatMap(({ changes }) => changes), ...planOldBudgets(fleet, stream, roster)],
    foreign: plans.flatMap(({ foreign }) => foreign),
  }
}

function planChild(stream: SendingStream, observed: readonly KubeObject[], manifest: Manifest): ChildPlan {
  const found = findObject(observed, manifest.metadata.namespace, manifest.metadata.name)
  if (found !== undefined && !isControlledBy(found, stream)) return { changes: [], foreign: [describeForeign(manifest.kind, found)] }
  const isSettled = found !== undefined && (isDeleting(found) || isCovered(found, { ...manifest, apiVersion: undefined, kind: undefined }))
  return { changes: isSettled ? [] : [{ kind: 'apply', object: manifest }], foreign: [] }
}

const planBudgets = (fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): readonly Manifest[] =>
  isReplicated(fleet, stream)
    ? shardsOf(roster).map((shard) => buildShardBudget(stream, shard, leastAvailable(fleet, stream, shard, roster)))
    : [children.buildDisruptionBudget(stream)]

/** Two budgets over one Pod make Kubernetes refuse every eviction: what is not wanted any more must go. */
function planOldBudgets(fleet: FleetSnapshot, stream: SendingStream, roster: readonly Entry[]): readonly Change[] {
  const wanted = new Set(planBudgets(fleet, stream, roster).map(({ metadata }) => metadata.name))
  return fleet.disruptionBudgets
    .filter((budget) => isControlledBy(budget, stream) && !isDeleting(budget) && !wanted.has(budget.metadata.name))
    .map((budget) => ({ kind: 'delete', ref: refTo('policy/v1', 'PodDisruptionBudget', budget) }))
}

/** An object of our name that is not ours is never taken over: somebody may depend on what it is. */
export function describeForeign(kind: string, object: KubeObject | MTAInstance): string {
  const owner = object.metadata.ownerReferences?.find((reference) => reference.controller === true)
  const whose = owner === undefined ? 'nobody' : `${owner.kind} '${owner.name}' (uid ${owner.uid})`
  return `${kind} '${object.metadata.name}' must belong to this stream, but is controlled by ${whose}: delete or rename it`
}
