import type { IPPool } from '#crds/ip-pool.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { claimName } from './objects/metadata.ts'
import { findObject, type FleetSnapshot, formatName } from './snapshot.ts'

/**
 * Who may open a connection from an address. Spec and agent's list together are a bound that is never too low:
 *
 *   bound ──agent works by this spec──▶ taken out of the spec ──agent lists it no more──▶ free ──▶ bound to another
 *
 * An address is taken away only while the agent works by the newest spec, so that the list which it has reported by then holds every address
 * that it may use; and it is given on only when it is in nobody's spec and in nobody's list. That takes several plans, and the world in between.
 */

/**
 * Whether addresses may be taken out of the spec: the agent works by it and has said so, or there never was an agent. Otherwise one may be in use
 * that is not in the agent's list yet, and would be in neither.
 */
export function mayRelease(fleet: FleetSnapshot, instance: MTAInstance | undefined): boolean {
  if (instance === undefined) return true
  const { generation = 0 } = instance.metadata
  const { agent } = instance.status ?? {}
  return agent === undefined ? neverHadAgent(fleet, instance) : (agent.observedGeneration ?? 0) >= generation
}

/**
 * That there is no Pod is not enough: one may have been replaced before it said anything, and the next begins with the document that it left on the
 * volume. The claim is there before the first Pod is.
 */
const neverHadAgent = (fleet: FleetSnapshot, { metadata, spec }: MTAInstance): boolean =>
  findObject(fleet.pods, metadata.namespace, metadata.name) === undefined &&
  findObject(fleet.claims, metadata.namespace, spec.queue.volumeClaimName ?? claimName(metadata.name)) === undefined

/**
 * Address → the instances that may open connections from it: by their spec, or by what their agent has not yet let go. What an agent said last
 * counts even when its Pod is gone: the next one may start from the document that is kept on the volume.
 */
export type Users = ReadonlyMap<string, ReadonlySet<string>>

/** Of the addresses of this pool. */
export function usersOfAddresses(fleet: FleetSnapshot, pool: IPPool): Users {
  const users = new Map<string, Set<string>>(pool.spec.addresses.map(({ address }) => [address, new Set()]))
  for (const instance of fleet.instances) {
    for (const { address } of instance.spec.addresses) users.get(address)?.add(formatName(instance))
    for (const address of instance.status?.agent?.addresses ?? []) users.get(address)?.add(formatName(instance))
  }
  return users
}

/** For messages. */
export function formatUsers(users: Users, addresses: readonly string[]): string {
  const shown = addresses
    .slice(0, SHOWN)
    .map((address) => `${address} by ${[...(users.get(address) ?? [])].toSorted().join(', ') || 'nobody'}`)
  return `${shown.join('; ')}${addresses.length > SHOWN ? `; and ${addresses.length - SHOWN} more` : ''}`
}
const SHOWN = 16
