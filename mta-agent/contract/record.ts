/**
 * The record of a shard: who is primary, at which epoch, and who is in sync (../replication/README.md, section 2). It lies in a Lease and changes only by
 * conditional writes. The operator creates it once and reads it; the agents change it.
 */

/** One copy of the shard's log: a volume of an instance. A volume that was lost and formatted anew is another copy. */
export type Copy = { readonly instance: string; readonly copy: string }

/** A process: a restarted container is another one. */
export type Holder = { readonly instance: string; readonly incarnation: string }

export type RecordContent = {
  readonly holder: Holder
  readonly epoch: number
  /** Sorted by instance and copy. */
  readonly inSync: readonly Copy[]
  /** The epoch of the last forced promotion; 0: none. */
  readonly forcedEpoch: number
}

/** `version` is the resourceVersion: compared for equality only. */
export type ShardRecord = RecordContent & { readonly version: string }

/** The parts of a coordination.k8s.io/v1 Lease that carry the record. */
export type LeaseParts = {
  readonly metadata: { readonly resourceVersion?: string; readonly annotations?: Readonly<Record<string, string>> }
  readonly spec?: { readonly holderIdentity?: string | null; readonly leaseTransitions?: number | null }
}

export const IN_SYNC_ANNOTATION = 'mtafleet.io/in-sync'
export const FORCED_EPOCH_ANNOTATION = 'mtafleet.io/forced-epoch'

/** A record that no agent or operator of ours has written. The shard's agents stop and a person must look. */
export class UnreadableRecord extends Error {
  override readonly name = 'UnreadableRecord'
}

export const keyOf = (copy: Copy): string => `${copy.instance}/${copy.copy}`
export const sameHolder = (a: Holder, b: Holder): boolean => a.instance === b.instance && a.incarnation === b.incarnation
export const includes = (set: readonly Copy[], copy: Copy): boolean => set.some((one) => keyOf(one) === keyOf(copy))
export const without = (set: readonly Copy[], copy: Copy): readonly Copy[] => set.filter((one) => keyOf(one) !== keyOf(copy))

/** The same copies always in the same order, each once. */
export function setOf(copies: readonly Copy[]): readonly Copy[] {
  const byKey = new Map(copies.map((copy) => [keyOf(copy), copy]))
  return [...byKey].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, copy]) => copy)
}

export const sameSet = (a: readonly Copy[], b: readonly Copy[]): boolean => setOf(a).map(keyOf).join(' ') === setOf(b).map(keyOf).join(' ')

/** Throws UnreadableRecord with what must be and what was. */
export function parseRecord(lease: LeaseParts): ShardRecord {
  const annotations = lease.metadata.annotations ?? {}
  const version = lease.metadata.resourceVersion ?? ''
  if (version === '') throw new UnreadableRecord('the record must have a resourceVersion, had none')
  return {
    version,
    holder: parseHolder(lease.spec?.holderIdentity ?? ''),
    epoch: parseEpoch('spec.leaseTransitions', lease.spec?.leaseTransitions, 1),
    inSync: parseSet(annotations[IN_SYNC_ANNOTATION]),
    forcedEpoch: parseEpoch(FORCED_EPOCH_ANNOTATION, Number(annotations[FORCED_EPOCH_ANNOTATION] ?? 'NaN'), 0),
  }
}

/** Annotations and spec fields to write; the times beside them are the shell's, nothing is decided from them. */
export function formatRecord(content: RecordContent): {
  readonly annotations: Readonly<Record<string, string>>
  readonly spec: { readonly holderIdentity: string; readonly leaseTransitions: number }
} {
  return {
    annotations: {
      [IN_SYNC_ANNOTATION]: JSON.stringify(setOf(content.inSync)),
      [FORCED_EPOCH_ANNOTATION]: String(content.forcedEpoch),
    },
    spec: { holderIdentity: `${content.holder.instance}/${content.holder.incarnation}`, leaseTransitions: content.epoch },
  }
}

function parseHolder(text: string): Holder {
  const [instance, incarnation, ...rest] = text.split('/')
  if (!instance || !incarnation || rest.length > 0) {
    throw new UnreadableRecord(`spec.holderIdentity must be INSTANCE/INCARNATION, was ${JSON.stringify(text)}`)
  }
  return { instance, incarnation }
}

function parseEpoch(field: string, value: number | null | undefined, least: number): number {
  if (value === undefined || value === null || !Number.isSafeInteger(value) || value < least) {
    throw new UnreadableRecord(`${field} must be a whole number from ${least} on, was ${value}`)
  }
  return value
}

function parseSet(text: string | undefined): readonly Copy[] {
  const value = parseJson(text)
  if (!Array.isArray(value) || value.length === 0 || !value.every(isCopy)) {
    throw new UnreadableRecord(`${IN_SYNC_ANNOTATION} must be a JSON list of {instance, copy}, was ${JSON.stringify(text)}`)
  }
  return setOf(value.map(({ instance, copy }) => ({ instance, copy })))
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch (error) {
    throw new UnreadableRecord(`${IN_SYNC_ANNOTATION} must be JSON, was ${JSON.stringify(text)}`, { cause: error })
  }
}

function isCopy(value: unknown): value is Copy {
  if (typeof value !== 'object' || value === null) return false
  const { instance, copy } = value as { readonly instance?: unknown; readonly copy?: unknown }
  return typeof instance === 'string' && instance !== '' && typeof copy === 'string' && copy !== ''
}
