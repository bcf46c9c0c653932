import { parseRecord, formatRecord, type RecordContent, type ShardRecord, UnreadableRecord } from '#agent/contract/record.ts'
import type { Client } from '#kube/client.ts'
import { formatMicroTime } from '#kube/lease.ts'
import { type Lease, LEASES, type ObjectKey } from '#kube/resources.ts'
import type { NoRecord } from '../agent-state.ts'
import type { Millis } from '../timers.ts'

/** The record at the API server: read by a plain GET, which is current, and changed by a PUT on the version that was read, and no other way. */
export type RecordClient = {
  /** Throws KubeError. Of one that is unreadable `because` says what is wrong. */
  read(signal: AbortSignal): Promise<RecordAnswer>
  /** Resolves when the server has taken it; what a failure came to is unknown (R3). `base` must be a version that was read lately. */
  write(base: string, content: RecordContent, signal: AbortSignal): Promise<void>
}

export type RecordAnswer = { readonly record: ShardRecord } | { readonly record: NoRecord; readonly because: string }

export type RecordClientOptions = {
  readonly client: Pick<Client, 'find' | 'update'>
  readonly key: ObjectKey
  /** Of one call. */
  readonly deadlineMillis: Millis
  readonly wall: () => Millis
}

export function openRecordClient({ client, key, deadlineMillis, wall }: RecordClientOptions): RecordClient {
  // By version. More than one, for a read that was given up may be answered after the next.
  const leases = new Map<string, Lease>()
  return {
    read: async (signal) => {
      const lease = await client.find(LEASES, key, { signal, deadlineMillis })
      if (lease === undefined) return { record: 'missing', because: `Lease ${key.namespace}/${key.name} must be there, was not` }
      keep(leases, lease)
      try {
        return { record: parseRecord(lease) }
      } catch (error) {
        if (!(error instanceof UnreadableRecord)) throw error
        return { record: 'unreadable', because: error.message }
      }
    },
    write: async (base, content, signal) => {
      const read = leases.get(base)
      if (read === undefined) throw new Error(`the record must be written on a version that was read lately, was ${base}`)
      await client.update(LEASES, leaseWith(read, content, formatMicroTime(wall())), { signal, deadlineMillis })
    },
  }
}

const KEPT_READS = 4

function keep(leases: Map<string, Lease>, lease: Lease): void {
  const version = lease.metadata.resourceVersion ?? ''
  leases.delete(version)
  leases.set(version, lease)
  for (const oldest of leases.keys()) {
    if (leases.size <= KEPT_READS) break
    leases.delete(oldest)
  }
}

/** What others wrote beside it stays: finalizer, labels, owner. The times are for people. */
export function leaseWith(read: Lease, content: RecordContent, now: string): Lease {
  const { annotations, spec } = formatRecord(content)
  const isNewReign = spec.leaseTransitions !== read.spec?.leaseTransitions
  return {
    ...read,
    metadata: { ...read.metadata, annotations: { ...read.metadata.annotations, ...annotations } },
    spec: { ...read.spec, ...spec, renewTime: now, ...(isNewReign ? { acquireTime: now } : {}) },
  }
}
