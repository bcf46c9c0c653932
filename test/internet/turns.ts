import type { Beginning } from './arrival.ts'

/**
 * Who sent when: transactions in order of time, those of one owner after the other as one turn. A shard whose primary changes once has two turns;
 * a third would be somebody who began to send although another had taken over. Pure.
 */
export type Turn = {
  readonly owner: string
  /** Milliseconds since the epoch, of its first and last transaction. */
  readonly from: number
  readonly to: number
  readonly transactions: number
}

/** `owners`: source address → owner. Transactions from other addresses are somebody else's. */
export function turnsOf(beginnings: readonly Beginning[], owners: ReadonlyMap<string, string>): readonly Turn[] {
  const known = beginnings.flatMap(({ at, sourceAddress }) => {
    const owner = owners.get(sourceAddress)
    return owner === undefined ? [] : [{ owner, at: Date.parse(at) }]
  })
  const turns: Turn[] = []
  for (const { owner, at } of known.toSorted((a, b) => a.at - b.at)) {
    const last = turns.at(-1)
    if (last?.owner === owner) turns[turns.length - 1] = { ...last, to: at, transactions: last.transactions + 1 }
    else turns.push({ owner, from: at, to: at, transactions: 1 })
  }
  return turns
}
