import type { IPPool } from '#crds/ip-pool.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import { byAge, findObject, type FleetSnapshot, formatName } from './snapshot.ts'

/** Whether a stream may send from its pool. A pool serves one stream, so that no stream can spoil the reputation of another. */

export type PoolVerdict =
  | { readonly kind: 'accepted'; readonly pool: IPPool }
  | { readonly kind: 'refused'; readonly because: 'PoolNotFound' | 'ClassNotAllowed' | 'PoolInUse'; readonly message: string }

export function judgePool(fleet: FleetSnapshot, stream: SendingStream): PoolVerdict {
  const name = stream.spec.poolRef.name
  const pool = findObject(fleet.pools, stream.metadata.namespace, name)
  if (pool === undefined) {
    return { kind: 'refused', because: 'PoolNotFound', message: `IPPool '${name}' must exist in namespace '${stream.metadata.namespace}'` }
  }
  if (!allows(pool, stream)) {
    const allowed = pool.spec.allowedClasses.join(', ')
    const message = `allowedClasses of IPPool '${name}' must include ${stream.spec.class}, were ${allowed}`
    return { kind: 'refused', because: 'ClassNotAllowed', message }
  }
  const served = servedStream(fleet, pool)
  if (served !== undefined && served.metadata.uid !== stream.metadata.uid) {
    const message = `IPPool '${name}' serves SendingStream '${served.metadata.name}', which is older; a pool serves one stream`
    return { kind: 'refused', because: 'PoolInUse', message }
  }
  return { kind: 'accepted', pool }
}

/** The oldest stream that names the pool and may. One that is being deleted keeps it until it is gone. */
export const servedStream = (fleet: FleetSnapshot, pool: IPPool): SendingStream | undefined =>
  fleet.streams
    .filter((stream) => stream.metadata.namespace === pool.metadata.namespace && stream.spec.poolRef.name === pool.metadata.name)
    .filter((stream) => allows(pool, stream))
    .toSorted(byAge)[0]

/** The other pools, over all namespaces, that name the address too. */
export const rivalPools = (fleet: FleetSnapshot, pool: IPPool, address: string): readonly string[] =>
  (poolsByAddress(fleet.pools).get(address) ?? []).filter((name) => name !== formatName(pool)).toSorted()

const indexes = new WeakMap<readonly IPPool[], ReadonlyMap<string, readonly string[]>>()
function poolsByAddress(pools: readonly IPPool[]): ReadonlyMap<string, readonly string[]> {
  const known = indexes.get(pools)
  if (known !== undefined) return known
  const index = new Map<string, string[]>()
  for (const pool of pools) {
    const name = formatName(pool)
    for (const { address } of pool.spec.addresses) {
      const names = index.get(address)
      if (names === undefined) index.set(address, [name])
      else names.push(name)
    }
  }
  indexes.set(pools, index)
  return index
}

const allows = (pool: IPPool, stream: SendingStream): boolean => pool.spec.allowedClasses.includes(stream.spec.class)
