/**
 * Where two logs part and what becomes of the rest (R8, README.md section 7). What must never happen: an entry kept that the primary does
 * not have; a message dropped that somebody may have got a 250 for; a message taken twice.
 */

/** A log's epochs, lowest first: the last sequence of each here, and how far messages first accepted in it were taken back. */
export type EpochTable = readonly EpochRow[]
export type EpochRow = { readonly epoch: number; readonly last: number; readonly takenBack: number }

/** Where a message was first accepted; its queue id. */
export type Origin = { readonly epoch: number; readonly sequence: number }

/** Adds an entry to the table. A hand-over entry also moves the row of its message's origin, which may have no entries of its own here. */
export function advanceTable(table: EpochTable, position: Origin, origin: Origin): EpochTable {
  const own = rowOf(table, position.epoch)
  const moved = withRow(table, { ...own, last: position.sequence })
  if (origin.epoch === position.epoch) return moved
  const row = rowOf(moved, origin.epoch)
  return withRow(moved, { ...row, takenBack: Math.max(row.takenBack, origin.sequence) })
}

const rowOf = (table: EpochTable, epoch: number): EpochRow => table.find((row) => row.epoch === epoch) ?? { epoch, last: 0, takenBack: 0 }

function withRow(table: EpochTable, row: EpochRow): EpochTable {
  return [...table.filter((one) => one.epoch !== row.epoch), row].toSorted((a, b) => a.epoch - b.epoch)
}

/**
 * The table of the log cut after `parting`. `dropped`: the origins of the hand-over entries that are cut off. They were taken back in order,
 * so before the first of an epoch nothing from its place on had been taken.
 */
export function cutTable(table: EpochTable, parting: number, dropped: readonly Origin[]): EpochTable {
  let before = 0
  const cut = table.map((row) => {
    const last = before < parting ? Math.min(row.last, parting) : 0
    before = Math.max(before, row.last)
    const first = Math.min(...dropped.filter(({ epoch }) => epoch === row.epoch).map(({ sequence }) => sequence))
    return { epoch: row.epoch, last, takenBack: Math.min(row.takenBack, first - 1) }
  })
  return cut.filter((row) => row.last > 0 || row.takenBack > 0)
}

/** The highest position of an epoch that the log contains or has taken back. */
export function haveOf(table: EpochTable, epoch: number): number {
  const row = rowOf(table, epoch)
  return Math.max(row.last, row.takenBack)
}

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
