import type { Peer, Replication } from '#crds/replication.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Ports } from '#crds/mta-instance.ts'
import { endpointSliceName, recordName } from '../objects/metadata.ts'
import { byText, findObject, type FleetSnapshot } from '../snapshot.ts'
import { failoverOf } from './wishes.ts'

/** What an instance is told about its shard. */

/** An instance of the shard as it will be; one that retires is nobody's peer any more. */
export type Member = { readonly name: string; readonly nodeName: string | undefined; readonly ports: Ports | undefined }

export function buildReplication(
  fleet: FleetSnapshot,
  stream: SendingStream,
  { shard, name, members }: { readonly shard: number; readonly name: string; readonly members: readonly Member[] },
): Replication {
  const { timing, durability } = failoverOf(stream)
  return {
    recordName: recordName(stream.metadata.name, shard),
    endpointSliceName: endpointSliceName(stream.metadata.name, shard),
    timing,
    durability,
    peers: members
      .filter((member) => member.name !== name)
      .toSorted((a, b) => byText(a.name, b.name))
      .flatMap((member) => peerAt(fleet, member) ?? []),
  }
}

function peerAt(fleet: FleetSnapshot, { name, nodeName, ports }: Member): Peer | undefined {
  const address = nodeName === undefined ? undefined : addressOf(fleet, nodeName)
  if (address === undefined || ports?.log === undefined || ports.beacon === undefined) return undefined
  return { instance: name, address, logPort: ports.log, beaconPort: ports.beacon }
}

/** Pods on the network of their node have its address. */
export const addressOf = (fleet: FleetSnapshot, nodeName: string): string | undefined =>
  findObject(fleet.nodes, undefined, nodeName)?.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address
