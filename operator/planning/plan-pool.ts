import { type ConditionInput, mergeConditions } from '#crds/conditions.ts'
import type { IPPool, IPPoolStatus, PoolAddressStatus } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { rivalPools, servedStream } from './accept-pool.ts'
import { usersOfAddresses } from './address-users.ts'
import { type EventNote, refTo } from './change.ts'
import { isSame } from './diff.ts'
import { planEvents } from './events.ts'
import { type Finding, stuck, summarise } from './finding.ts'
import { byName, findObject, type FleetSnapshot } from './snapshot.ts'

/** What a pool says of its addresses: who sends from each, and which of them cannot be used. It gives none out: the stream it serves does. */

export type PoolPlan = {
  readonly pool: IPPool
  /** Absent when the status would say what it says already. */
  readonly status?: IPPoolStatus
  readonly events: readonly EventNote[]
}

/** Undefined when there is no such pool. `now` is for transition times alone. */
export function planPool(
  fleet: FleetSnapshot,
  key: { readonly namespace: string; readonly name: string },
  now: number,
): PoolPlan | undefined {
  const pool = findObject(fleet.pools, key.namespace, key.name)
  if (pool === undefined) return undefined
  const users = ownUsers(fleet, pool)
  const stream = servedStream(fleet, pool)?.metadata.name
  const { generation } = pool.metadata
  const status: IPPoolStatus = {
    conditions: mergeConditions(pool.status?.conditions, summarisePool(fleet, pool, stream), generation, now),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    addresses: pool.spec.addresses.map(({ address }) => stateAddress(fleet, pool, address, users.get(address) ?? [])),
    total: pool.spec.addresses.length,
    assigned: [...users.values()].filter((instances) => instances.length > 0).length,
    ...(stream === undefined ? {} : { stream }),
  }
  const events = planEvents(refTo(pool.apiVersion, pool.kind, pool), pool.status?.conditions, status.conditions)
  return { pool, events, ...(isSame(pool.status, status) ? {} : { status }) }
}

/** An address is its instance's until the agent has let it go as well, whatever the spec says by then. */
function ownUsers(fleet: FleetSnapshot, pool: IPPool): ReadonlyMap<string, readonly MTAInstance[]> {
  const { namespace = '' } = pool.metadata
  const prefix = `${namespace}/`
  const own = (names: ReadonlySet<string>): readonly MTAInstance[] =>
    [...names]
      .filter((name) => name.startsWith(prefix))
      .toSorted()
      .flatMap((name) => findObject(fleet.instances, namespace, name.slice(prefix.length)) ?? [])
  return new Map([...usersOfAddresses(fleet, pool)].map(([address, names]) => [address, own(names)]))
}

function stateAddress(fleet: FleetSnapshot, pool: IPPool, address: string, users: readonly MTAInstance[]): PoolAddressStatus {
  const [attached] = users.filter(({ status }) => status?.agent?.attachedAddresses?.includes(address)).toSorted(byEpoch)
  const shown = pool.spec.attachment === 'Managed' ? attached : users[0]
  const instance = shown === undefined ? {} : { instance: shown.metadata.name }
  if (rivalPools(fleet, pool, address).length > 0) return { address, state: 'Conflict', ...instance }
  if (users.length === 0) return { address, state: 'Free' }
  return { address, state: attached === undefined ? 'Assigned' : 'Attached', ...instance }
}

/** What one said whose node is gone stands there for ever: the later epoch is the newer word. */
const byEpoch = (a: MTAInstance, b: MTAInstance): number => epochOf(b) - epochOf(a) || byName(a, b)
const epochOf = ({ status }: MTAInstance): number => status?.agent?.replication?.epoch ?? 0

function summarisePool(fleet: FleetSnapshot, pool: IPPool, stream: string | undefined): readonly ConditionInput[] {
  const conflicts = pool.spec.addresses
    .map(({ address }) => ({ address, rivals: rivalPools(fleet, pool, address) }))
    .filter(({ rivals }) => rivals.length > 0)
    .map(({ address, rivals }) => `${address} (IPPool ${rivals.map((name) => `'${name}'`).join(', ')})`)
  const missing = pool.spec.addresses
    .filter(({ nodeName }) => nodeName !== undefined && findObject(fleet.nodes, undefined, nodeName) === undefined)
    .map(({ address, nodeName }) => `'${nodeName}' of ${address}`)
  const findings: Finding[] = [
    ...(conflicts.length === 0
      ? []
      : [stuck('Ready', 'AddressConflict', `an address must be in one pool only, but others name ${formatSome(conflicts)}`)]),
    ...(missing.length === 0
      ? []
      : [stuck('Ready', 'NodeNotFound', `the node of an address must exist, but there is no node ${formatSome(missing)}`)]),
  ]
  const well =
    stream === undefined
      ? { reason: 'Unused', message: 'no SendingStream that may use it names this pool' }
      : { reason: 'Serving', message: `serves SendingStream '${stream}'` }
  return summarise(findings, well, pool.status?.conditions)
}

const SHOWN = 8
const formatSome = (texts: readonly string[]): string =>
  texts.length <= SHOWN ? texts.join(', ') : `${texts.slice(0, SHOWN).join(', ')} and ${texts.length - SHOWN} more`
