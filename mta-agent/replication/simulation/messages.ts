import type { EpochTable, Offer } from '../follow.ts'
import type { Copy } from '../record.ts'
import type { Aside, Entry, Snapshot } from './volume.ts'

/** What goes over a session (README.md, section 6). */
export type ToPrimary =
  | { readonly kind: 'follow'; readonly copy: Copy; readonly seen: number; readonly table: EpochTable; readonly complete: boolean }
  | { readonly kind: 'promise'; readonly number: number }
  | { readonly kind: 'confirm'; readonly sequence: number; readonly complete: boolean }
  | { readonly kind: 'offer'; readonly offer: Offer<Aside> }
  | { readonly kind: 'leaving' }

export type ToStandby =
  | {
      readonly kind: 'welcome'
      readonly epoch: number
      readonly forcedEpoch: number
      readonly parting: number
      readonly table: EpochTable
      /** What a full copy ends with; undefined: the log is enough. */
      readonly snapshot: Snapshot | undefined
      /** For the checks only. */
      readonly log: readonly Entry[]
    }
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  | { readonly kind: 'beacon'; readonly epoch: number; readonly number: number }
  | { readonly kind: 'over'; readonly epoch: number; readonly last: number }
