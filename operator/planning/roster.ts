import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Claimant } from './assignment.ts'
import { type FleetSnapshot, instancesOf, isDeleting } from './snapshot.ts'
import { chooseNames } from './standbys/choose-names.ts'
import { listLost } from './standbys/lost.ts'
import { isReplicated, shardOf } from './standbys/shard.ts'
import { standbysOf } from './standbys/wishes.ts'

/** Which instances a stream has and shall have, and what shall become of each. */

export type Entry = {
  readonly name: string
  readonly shard: number
  readonly instance: MTAInstance | undefined
  /**
   * Serves: one of a wanted shard. Leaves: its shard is not wanted, it goes when that is empty. Retires: a standby too many, it goes when its copy is out of
   * the set. Ends: goes now.
   */
  readonly fate: 'Serves' | 'Leaves' | 'Retires' | 'Ends'
}

/** `now` tells which nodes are lost. */
export function listRoster(fleet: FleetSnapshot, stream: SendingStream, now: number): readonly Entry[] {
  const lost = listLost(fleet, stream, now).names
  const { primaries, stopPolicy } = stream.spec
  const instances = instancesOf(fleet, stream)
  const replicated = isReplicated(fleet, stream)
  const known = new Map(instances.map((instance) => [instance.metadata.name, instance]))
  const wanted = Array.from({ length: isDeleting(stream) ? 0 : primaries }, (_, shard) => shard)
  const serving = wanted.flatMap((shard) =>
    namesOf(fleet, stream, { shard, instances, lost }).map((name): Entry => ({
      name,
      shard,
      instance: known.get(name),
      fate: 'Serves',
    })),
  )
  const names = new Set(serving.map((entry) => entry.name))
  const surplus = isDeleting(stream) && stopPolicy !== 'HoldAndDrain' ? 'Ends' : 'Leaves'
  const leaving = instances
    .filter((instance) => !names.has(instance.metadata.name))
    .map((instance): Entry => {
      const { shard } = instance.spec
      const fate = replicated && wanted.includes(shard) ? 'Retires' : surplus
      return { name: instance.metadata.name, shard, instance, fate }
    })
  return [...serving, ...leaving]
}

type Shard = { readonly shard: number; readonly instances: readonly MTAInstance[]; readonly lost: ReadonlySet<string> }

function namesOf(fleet: FleetSnapshot, stream: SendingStream, { shard, instances, lost }: Shard): readonly string[] {
  const ofShard = instances.filter(({ spec }) => spec.shard === shard)
  // One that goes is made again under its name when nobody is there in its place.
  const sorted = [...ofShard.filter((one) => !isDeleting(one)), ...ofShard.filter(isDeleting)].map(({ metadata }) => metadata.name)
  const existing = isReplicated(fleet, stream) ? sorted : []
  const { record } = shardOf(fleet, stream, shard)
  return chooseNames({ stream: stream.metadata.name, shard, copies: 1 + standbysOf(stream), record, existing, lost })
}

export const claimantsOf = (roster: readonly Entry[]): readonly Claimant[] =>
  roster
    .filter((entry) => entry.fate !== 'Ends')
    .map(({ name, shard, instance, fate }) => ({
      name,
      shard,
      instance,
      part: fate === 'Serves' && (instance === undefined || !isDeleting(instance)) ? 'Receives' : 'Keeps',
    }))

/** Each once. */
export const shardsOf = (roster: readonly Entry[]): readonly number[] =>
  [...new Set(roster.map(({ shard }) => shard))].toSorted((a, b) => a - b)
