import type { ShardRecord } from '#agent/contract/record.ts'
import { instanceName } from '../objects/metadata.ts'
import { byText } from '../snapshot.ts'

/**
 * Which instances a shard shall have. The holder of the record first, then who is in sync, then who is there, then new ones: so fewer standbys never cost the
 * copy that works, and a stream that is made again finds the volumes of the one before it.
 */

export type Choice = {
  readonly stream: string
  readonly shard: number
  /** How many instances the shard shall have. */
  readonly copies: number
  readonly record: ShardRecord | undefined
  /** Instances of the shard that there are, in the order of preference. */
  readonly existing: readonly string[]
  /** Those that shall be replaced, for their node is lost. */
  readonly lost: ReadonlySet<string>
}

export function chooseNames({ stream, shard, copies, record, existing, lost }: Choice): readonly string[] {
  const inSync = record?.inSync.map(({ instance }) => instance) ?? []
  const known = [...(record === undefined ? [] : [record.holder.instance]), ...inSync.toSorted(byText), ...existing]
  const chosen = [...new Set(known)].filter((name) => !lost.has(name)).slice(0, copies)
  for (const letter of LETTERS) {
    if (chosen.length >= copies) break
    const name = instanceName(stream, shard, letter)
    if (!chosen.includes(name) && !existing.includes(name)) chosen.push(name)
  }
  return chosen.toSorted(byText)
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
