import type { Loaded } from './smtp-load.ts'

/** What was measured, in words: numbers of one round, and ratios of rounds that stood beside each other. */

export type Round = Loaded & {
  readonly of: 'alone' | 'pair'
  /** From the begin of the load until all of it was delivered. */
  readonly deliveredMillis: number
  /** By what the process does. */
  readonly cpuMillis: Readonly<Record<string, number>>
}

export function printRound({ of, accepted, elapsedMillis, latencies, deliveredMillis, cpuMillis }: Round): void {
  const cpu = Object.entries(cpuMillis).map(([role, millis]) => `${role} ${(millis / accepted).toFixed(2)}`)
  const rate = `${perSecond(accepted, elapsedMillis)}/s accepted, ${perSecond(accepted, deliveredMillis)}/s to delivered`
  const wait = `250 after ${quantile(latencies, 0.5).toFixed(1)} ms (p50), ${quantile(latencies, 0.99).toFixed(1)} ms (p99)`
  console.log(`${of.padEnd(6)} ${rate}; ${wait}; CPU ms a message: ${cpu.join(', ')}`)
}

/** Neighbours are compared, so that what changes slowly on the machine changes both. */
export function printRatios(rounds: readonly Round[]): void {
  const pairs = rounds.flatMap((one, index) => {
    const other = rounds[index + 1]
    if (index % 2 === 1 || other === undefined) return []
    return [one.of === 'alone' ? { alone: one, pair: other } : { alone: other, pair: one }]
  })
  const tell = (what: string, ratioOf: (of: { alone: Round; pair: Round }) => number): void => {
    const ratios = pairs.map(ratioOf).toSorted((a, b) => a - b)
    console.log(`${what}: ${quantile(ratios, 0.5).toFixed(2)} (${ratios[0]!.toFixed(2)} to ${ratios.at(-1)!.toFixed(2)})`)
  }
  tell('pair / alone, accepted', ({ alone, pair }) => pair.accepted / pair.elapsedMillis / (alone.accepted / alone.elapsedMillis))
  tell('pair / alone, to delivered', ({ alone, pair }) => pair.accepted / pair.deliveredMillis / (alone.accepted / alone.deliveredMillis))
  tell('pair / alone, p50 of 250', ({ alone, pair }) => quantile(pair.latencies, 0.5) / quantile(alone.latencies, 0.5))
  tell('pair / alone, CPU of agents', ({ alone, pair }) => agentsOf(pair) / pair.accepted / (agentsOf(alone) / alone.accepted))
  const busy = rounds.map((round) => sum(Object.values(round.cpuMillis)) / round.deliveredMillis)
  console.log(`cores busy with this: ${Math.min(...busy).toFixed(2)} to ${Math.max(...busy).toFixed(2)}`)
}

const agentsOf = ({ cpuMillis }: Round): number =>
  sum(Object.entries(cpuMillis).flatMap(([role, millis]) => (role === 'client' || role === 'sink' ? [] : [millis])))
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)
const perSecond = (count: number, millis: number): string => String(Math.round((1000 * count) / millis))
const quantile = (ascending: readonly number[], share: number): number =>
  ascending[Math.min(ascending.length - 1, Math.floor(share * ascending.length))] ?? NaN
