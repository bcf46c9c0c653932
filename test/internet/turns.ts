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
export const turnsOf = (beginnings: readonly Beginning[], owners: ReadonlyMap<string, string>): readonly Turn[] =>
  joinTurns(
    beginnings.flatMap(({ at, sourceAddress }) => {
      const owner = owners.get(sourceAddress)
      return owner === undefined ? [] : [{ owner, at: Date.parse(at) }]
    }),
  )

/** When somebody began to reign, in milliseconds since the epoch. */
export type Accession = { readonly owner: string; readonly at: number }

/**
 * Where all send from the same addresses the connection tells who it is: it is his who reigned when its first transaction was begun, and remains so. Who
 * uses one of his after another has begun has a turn out of order.
 */
export function turnsBySession(
  beginnings: readonly Beginning[],
  addresses: readonly string[],
  accessions: readonly Accession[],
): readonly Turn[] {
  const own = beginnings.filter(({ sourceAddress }) => addresses.includes(sourceAddress))
  const reigns = accessions.toSorted((a, b) => b.at - a.at)
  const sessions = Map.groupBy(own, ({ provider, session }) => `${provider} ${session}`)
  return joinTurns(
    [...sessions.values()].flatMap((transactions) => {
      const times = transactions.map(({ at }) => Date.parse(at))
      const owner = reigns.find(({ at }) => at <= Math.min(...times))?.owner ?? 'nobody'
      return times.map((at) => ({ owner, at }))
    }),
  )
}

function joinTurns(transactions: readonly Accession[]): readonly Turn[] {
  const turns: Turn[] = []
  for (const { owner, at } of transactions.toSorted((a, b) => a.at - b.at)) {
    const last = turns.at(-1)
    if (last?.owner === owner) turns[turns.length - 1] = { ...last, to: at, transactions: last.transactions + 1 }
    else turns.push({ owner, from: at, to: at, transactions: 1 })
  }
  return turns
}
