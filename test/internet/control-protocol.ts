import type { Arrival } from './arrival.ts'
import type { Behaviour } from './behaviour.ts'
import type { Counts } from './provider.ts'

/** What is said over the control socket: HTTP with JSON, for scenarios on the host, outside the namespace. */
export type ProviderStatus = {
  readonly name: string
  readonly hostName: string
  readonly addresses: readonly string[]
  readonly port: number
  readonly behaviour: Behaviour
  readonly counts: Counts
}
export type Status = {
  readonly pid: number
  /** Of the sources it was started from. */
  readonly code: string
  readonly providers: readonly ProviderStatus[]
  readonly dns: 'answering' | 'silent'
}

/** All that are given must hold. */
export type ArrivalFilter = {
  readonly provider?: string
  readonly outcome?: Arrival['outcome']
  /** The beginning of the Message-ID, such as `<run1.`: one run among several. */
  readonly messageIdPrefix?: string
  readonly sender?: string
}

export function filterArrivals(arrivals: readonly Arrival[], filter: ArrivalFilter): readonly Arrival[] {
  return arrivals.filter(
    (arrival) =>
      (filter.provider === undefined || arrival.provider === filter.provider) &&
      (filter.outcome === undefined || arrival.outcome === filter.outcome) &&
      (filter.messageIdPrefix === undefined || arrival.messageId?.startsWith(filter.messageIdPrefix) === true) &&
      (filter.sender === undefined || arrival.sender === filter.sender),
  )
}
