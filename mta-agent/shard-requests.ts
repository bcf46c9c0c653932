import { ANNOTATIONS } from '#crds/group.ts'
import { parsePromotion, parseSwitchover, type Promotion } from './contract/requests.ts'

/**
 * What annotations of the own MTAInstance ask for. Whoever reads one twice must come to the same: each value is acted on once in this process,
 * and what it names (an epoch, a version of the record) makes one that is out of date nothing. A switchover that was refused is asked for again as
 * long as its annotation stands: the operator sees a standby in the record before this process has read that it is there.
 */

export type Annotations = Readonly<Record<string, string>> | undefined

export type Requests = { readonly switchover: string | undefined; readonly promotion: string | undefined }

export const NO_REQUESTS: Requests = { switchover: undefined, promotion: undefined }

export type RequestPlan = {
  readonly asked: Requests
  /** The epoch of this instance's reign that shall end. */
  readonly switchover?: number
  readonly force?: Promotion
}

/** `leads`: the epoch that this instance leads, if it does; a switchover of any other is not for now. `wasRefused`: the one that was asked for last. */
export function planRequests(asked: Requests, annotations: Annotations, leads: number | undefined, wasRefused = false): RequestPlan {
  const switchover = annotations?.[ANNOTATIONS.switchover]
  const promotion = annotations?.[ANNOTATIONS.promoteGranted]
  const epoch = ifNew(switchover, wasRefused ? undefined : asked.switchover, parseSwitchover)
  const force = ifNew(promotion, asked.promotion, parsePromotion)
  const begins = epoch !== undefined && epoch === leads
  return {
    asked: { switchover: begins ? switchover : asked.switchover, promotion: force ? promotion : asked.promotion },
    ...(begins && { switchover: epoch }),
    ...(force && { force }),
  }
}

const ifNew = <T>(text: string | undefined, before: string | undefined, parse: (text: string) => T | undefined): T | undefined =>
  text === undefined || text === before ? undefined : parse(text)
