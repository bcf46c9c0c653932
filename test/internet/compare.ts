import type { Arrival } from './arrival.ts'

/**
 * Compares what was acknowledged at submission with what arrived, message by message and recipient by recipient. Pure. Never counts as arrived
 * what was only nearly so, and never explains a duplicate away but by an attempt that the client itself could not know the end of.
 */
export type Submitted = {
  readonly messageId: string
  readonly recipients: readonly string[]
  readonly bodyHash: string
  /** Attempts of which the client never learnt the end: each may have left one more copy under the same Message-ID. */
  readonly ambiguousAttempts: number
}

export type Expectation = {
  /** Their 250 was read: every recipient must arrive. */
  readonly accepted: readonly Submitted[]
  /** Given up by the client with an ambiguous attempt: may arrive, or not. */
  readonly uncertain?: readonly Submitted[]
  /** Recipients that a provider refuses for good: must not arrive, and are not lost. */
  readonly refusedForGood?: (recipient: string) => boolean
  /** Source address → the name it must say in EHLO. Arrivals from elsewhere, or by another name, are wrong. Not looked at when absent. */
  readonly sources?: Readonly<Record<string, string>>
}

export type Delivery = { readonly messageId: string; readonly recipient: string }
export type Comparison = {
  /** Accepted messages, and their recipients without those refused for good. */
  readonly messages: number
  readonly recipients: number
  /** Recipients of accepted messages that arrived at least once. */
  readonly arrived: number
  readonly lost: readonly Delivery[]
  readonly duplicated: readonly (Delivery & { readonly extraCopies: number })[]
  /** Further copies that ambiguous attempts account for. */
  readonly resubmitted: readonly (Delivery & { readonly extraCopies: number })[]
  readonly altered: readonly (Delivery & { readonly provider: string })[]
  /** Arrived, but nobody sent it there. */
  readonly unexpected: readonly (Delivery & { readonly provider: string })[]
  readonly wrongSource: readonly (Delivery & { readonly sourceAddress: string; readonly hello: string })[]
  /** Nothing lost, altered, unexpected or from a wrong source. Duplicates are the caller's to judge: after a crash some are allowed. */
  readonly complete: boolean
}

export function compare(expectation: Expectation, arrivals: readonly Arrival[]): Comparison {
  const refused = expectation.refusedForGood ?? (() => false)
  const known = new Map<string, Submitted>()
  for (const submitted of [...(expectation.uncertain ?? []), ...expectation.accepted]) known.set(submitted.messageId, submitted)
  const copies = copiesOf(arrivals)

  const wanted = expectation.accepted.flatMap(({ messageId, recipients }) =>
    recipients.filter((recipient) => !refused(recipient)).map((recipient) => ({ messageId, recipient })),
  )
  const lost = wanted.filter((delivery) => !copies.has(keyOf(delivery)))
  const extra = extraCopies(copies, known)
  const { unexpected, altered, wrongSource } = judgeCopies(copies, known, expectation)
  return {
    messages: expectation.accepted.length,
    recipients: wanted.length,
    arrived: wanted.length - lost.length,
    lost,
    ...extra,
    altered,
    unexpected,
    wrongSource,
    complete: lost.length + altered.length + unexpected.length + wrongSource.length === 0,
  }
}

type Copies = ReadonlyMap<string, { readonly delivery: Delivery; readonly arrivals: readonly Arrival[] }>

function copiesOf(arrivals: readonly Arrival[]): Copies {
  const copies = new Map<string, { readonly delivery: Delivery; readonly arrivals: Arrival[] }>()
  for (const arrival of arrivals) {
    if (arrival.outcome !== 'arrived') continue
    for (const { address } of arrival.recipients) {
      const delivery = { messageId: arrival.messageId ?? '(none)', recipient: address }
      const entry = copies.get(keyOf(delivery))
      if (entry === undefined) copies.set(keyOf(delivery), { delivery, arrivals: [arrival] })
      else entry.arrivals.push(arrival)
    }
  }
  return copies
}

function extraCopies(copies: Copies, known: ReadonlyMap<string, Submitted>): Pick<Comparison, 'duplicated' | 'resubmitted'> {
  const duplicated: (Delivery & { extraCopies: number })[] = []
  const resubmitted: (Delivery & { extraCopies: number })[] = []
  for (const { delivery, arrivals } of copies.values()) {
    const extra = arrivals.length - 1
    const explained = Math.min(extra, known.get(delivery.messageId)?.ambiguousAttempts ?? 0)
    if (explained > 0) resubmitted.push({ ...delivery, extraCopies: explained })
    if (extra > explained) duplicated.push({ ...delivery, extraCopies: extra - explained })
  }
  return { duplicated, resubmitted }
}

function judgeCopies(
  copies: Copies,
  known: ReadonlyMap<string, Submitted>,
  expectation: Expectation,
): Pick<Comparison, 'altered' | 'unexpected' | 'wrongSource'> {
  const refused = expectation.refusedForGood ?? (() => false)
  const verdict = { altered: [], unexpected: [], wrongSource: [] } as {
    altered: (Delivery & { provider: string })[]
    unexpected: (Delivery & { provider: string })[]
    wrongSource: (Delivery & { sourceAddress: string; hello: string })[]
  }
  for (const { delivery, arrivals } of copies.values()) {
    const submitted = known.get(delivery.messageId)
    const sentThere = submitted?.recipients.some((recipient) => keyOf({ ...delivery, recipient }) === keyOf(delivery)) === true
    for (const { provider, bodyHash, sourceAddress, hello } of arrivals) {
      if (!sentThere || refused(delivery.recipient)) verdict.unexpected.push({ ...delivery, provider })
      else if (bodyHash !== submitted.bodyHash) verdict.altered.push({ ...delivery, provider })
      if (expectation.sources !== undefined && expectation.sources[sourceAddress] !== hello) {
        verdict.wrongSource.push({ ...delivery, sourceAddress, hello })
      }
    }
  }
  return verdict
}

/** Domains are equal in any case, local parts are not (RFC 5321 section 2.4). */
function keyOf({ messageId, recipient }: Delivery): string {
  const at = recipient.lastIndexOf('@')
  return `${messageId} ${recipient.slice(0, at)}${recipient.slice(at).toLowerCase()}`
}
