import type { SourceAddress } from '#crds/mta-instance.ts'
import type { Delivery, Millis } from '../queue/queue-store.ts'
import type { UnavailableAddress } from './ports.ts'

/**
 * Which source address a connection is bound to, and which ones the kernel will not bind to now. Mail waits for an address that is
 * away, until it is too old like any other; it never leaves from one that was not assigned.
 */

/** An address that is away is asked for again after this time: one attempt costs nothing, and it may come back with a link. */
const AWAY_MILLIS: Millis = 10_000

type DeliveryName = Pick<Delivery, 'queueId' | 'destination'>
/** `attachment`: when it was refused. */
type Away = { readonly since: Millis; readonly until: Millis; readonly code: string; readonly attachment: number | undefined }

export class SourceAddresses {
  readonly #away = new Map<string, Away>()
  #assigned: ReadonlySet<string>
  readonly #onChange: () => void
  readonly #attachmentOf: (address: string) => number | undefined

  /** `attachmentOf`: of addresses that come and go; one that is not attached is not tried. */
  constructor(assigned: readonly SourceAddress[], onChange: () => void, attachmentOf: (address: string) => number | undefined = () => 0) {
    this.#assigned = addressesOf(assigned)
    this.#onChange = onChange
    this.#attachmentOf = attachmentOf
  }

  /**
   * Those that may be used now, in order of preference. The order is the same at each attempt of a delivery, so that a retry comes from
   * the address of the attempt before: greylisting begins anew for another one. Deliveries spread evenly, and when an address goes,
   * only its own move (rendezvous hashing).
   */
  order({ queueId, destination }: DeliveryName, sources: readonly SourceAddress[], now: Millis): SourceAddress[] {
    return sources
      .filter(({ address }) => this.#isHere(address, now))
      .map((source) => ({ source, weight: hash(`${source.address} ${destination} ${queueId}`) }))
      .toSorted((a, b) => a.weight - b.weight || (a.source.address < b.source.address ? -1 : 1))
      .map(({ source }) => source)
  }

  /** Whether any of them may be used now. */
  some(sources: readonly SourceAddress[], now: Millis): boolean {
    return sources.some(({ address }) => this.#isHere(address, now))
  }

  /** An attempt that was under way when its address left the settings says nothing that anyone would forget again. */
  wasRefused(address: string, code: string, now: Millis): void {
    if (!this.#assigned.has(address)) return
    const known = this.#away.get(address)
    this.#away.set(address, { since: known?.since ?? now, until: now + AWAY_MILLIS, code, attachment: this.#attachmentOf(address) })
    if (known === undefined) this.#onChange()
  }

  worked(address: string): void {
    if (this.#away.delete(address)) this.#onChange()
  }

  /** These are assigned now. Forgets what is known of others, and of those that were attached anew since. */
  keepOnly(sources: readonly SourceAddress[]): void {
    this.#assigned = addressesOf(sources)
    for (const [address, { attachment }] of this.#away) {
      const isAnew = this.isAttached(address) && this.#attachmentOf(address) !== attachment
      if (isAnew || !this.#assigned.has(address)) this.worked(address)
    }
  }

  isAttached(address: string): boolean {
    return this.#attachmentOf(address) !== undefined
  }

  unavailable(): readonly UnavailableAddress[] {
    return [...this.#away].map(([address, { since, code }]) => ({ address, since, code }))
  }

  /** When an address that is away will be asked for again; undefined when none is waited for. */
  nextTrial(now: Millis): Millis | undefined {
    const later = [...this.#away.values()].flatMap(({ until }) => (until > now ? until : []))
    return later.length === 0 ? undefined : Math.min(...later)
  }

  #isHere(address: string, now: Millis): boolean {
    return (this.#away.get(address)?.until ?? 0) <= now && this.isAttached(address)
  }
}

const addressesOf = (sources: readonly SourceAddress[]): ReadonlySet<string> => new Set(sources.map(({ address }) => address))

/** FNV-1a with the last step of MurmurHash3, 32 bits: the same everywhere, and names that differ in one digit are far apart. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
