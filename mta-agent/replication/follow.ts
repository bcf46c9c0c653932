import { type EpochTable, haveOf, type Origin, rowOf } from '../domain/epoch-table.ts'

/**
 * Where two logs part and what becomes of the rest (R8, README.md section 7). What must never happen: an entry kept that the primary does
 * not have; a message dropped that somebody may have got a 250 for; a message taken twice.
 */

export { advanceTable, cutTable, haveOf } from '../domain/epoch-table.ts'
export type { EpochRow, EpochTable, Origin } from '../domain/epoch-table.ts'

/** The last sequence that two logs share: in the highest epoch that both have, the lower of the two ends. Exact, because an epoch has one writer. */
export function partingPoint(mine: EpochTable, theirs: EpochTable): number {
  const shared = mine
    .filter((row) => row.last > 0)
    .map((row) => ({ mine: row.last, theirs: rowOf(theirs, row.epoch).last }))
    .findLast((ends) => ends.theirs > 0)
  return shared ? Math.min(shared.mine, shared.theirs) : 0
}

/** How a follower is brought up: by the log, unless what it lacks was trimmed. */
export function planCatchUp(
  parting: number,
  firstSequence: number,
): { readonly kind: 'entries'; readonly from: number } | { readonly kind: 'fullCopy' } {
  return parting + 1 >= firstSequence ? { kind: 'entries', from: parting + 1 } : { kind: 'fullCopy' }
}

/**
 * Which live messages of the dropped tail are set aside: those first accepted before a forced promotion, since their clients may have been
 * told 250. The others were promised to nobody. By the queue id, not by the entry that is dropped: a hand-over entry puts its message back.
 */
export function setAside<M extends { readonly origin: Origin }>(liveTail: readonly M[], forcedEpoch: number): readonly M[] {
  return liveTail.filter((message) => message.origin.epoch < forcedEpoch)
}

/** What may be let go of what was set aside: what the own durable log contains or took back. Returned is what must stay. */
export function keptAside<M extends { readonly origin: Origin }>(aside: readonly M[], durable: EpochTable): readonly M[] {
  return aside.filter(({ origin }) => origin.sequence > haveOf(durable, origin.epoch))
}

export type Offer<M> = { readonly epoch: number; readonly from: number; readonly to: number; readonly messages: readonly M[] }

/** What to offer a primary with this table: for each origin epoch all that it lacks, in order, from where its table ends. */
export function planOffers<M extends { readonly origin: Origin }>(aside: readonly M[], theirs: EpochTable): readonly Offer<M>[] {
  const epochs = [...new Set(aside.map(({ origin }) => origin.epoch))].toSorted((a, b) => a - b)
  return epochs.flatMap((epoch) => {
    const have = haveOf(theirs, epoch)
    const messages = aside
      .filter(({ origin }) => origin.epoch === epoch && origin.sequence > have)
      .toSorted((a, b) => a.origin.sequence - b.origin.sequence)
    const last = messages.at(-1)
    return last ? [{ epoch, from: have + 1, to: last.origin.sequence, messages }] : []
  })
}

export type OfferRefusal = 'NotWhereTheTableEnds' | 'NotInOrder'

/** The primary's side: an offer is taken only from where its own table ends, so nothing is taken twice, also when it was delivered meanwhile. */
export function judgeOffer(offer: Offer<{ readonly origin: Origin }>, table: EpochTable): 'take' | OfferRefusal {
  if (offer.from !== haveOf(table, offer.epoch) + 1) return 'NotWhereTheTableEnds'
  let before = offer.from - 1
  for (const { origin } of offer.messages) {
    if (origin.epoch !== offer.epoch || origin.sequence <= before || origin.sequence > offer.to) return 'NotInOrder'
    before = origin.sequence
  }
  return 'take'
}
