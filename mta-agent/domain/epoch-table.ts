/** Which epochs a log has, and how far (hot standby, sections 2 and 7): the queue keeps it, replication reasons with it. */

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

export const rowOf = (table: EpochTable, epoch: number): EpochRow =>
  table.find((row) => row.epoch === epoch) ?? { epoch, last: 0, takenBack: 0 }

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
