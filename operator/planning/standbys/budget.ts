import type { SendingStream } from '#crds/sending-stream.ts'
import type { Entry } from '../roster.ts'
import { findObject, type FleetSnapshot } from '../snapshot.ts'
import { shardOf } from './shard.ts'

/**
 * How many Pods of a shard an eviction must leave: all but one, and all of them while the primary is on a node that is being emptied. So a drain waits until the
 * primary has handed over, and takes its Pod then.
 */
export function leastAvailable(fleet: FleetSnapshot, stream: SendingStream, shard: number, roster: readonly Entry[]): number {
  const entries = roster.filter((entry) => entry.shard === shard)
  const copies = Math.max(1, entries.length)
  const { record } = shardOf(fleet, stream, shard)
  const primary = entries.find(({ name }) => name === record?.holder.instance)
  const nodeName = primary?.instance?.spec.nodeName
  const isEmptied = nodeName !== undefined && findObject(fleet.nodes, undefined, nodeName)?.spec?.unschedulable === true
  return isEmptied ? copies : Math.max(1, copies - 1)
}
