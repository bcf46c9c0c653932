import * as z from 'zod'
import { type Frame, LinkFault } from '../log-link/frames.ts'
import { parseJson } from '../log-link/parse-json.ts'

/**
 * What is said on the beacon link (README.md section 6), → from standby to primary:
 *
 *   → follow   ← welcome | refused   ← beacon → promise | heard …   → leaving   ← over
 *
 * Each frame carries the epoch: `follow` the highest that the standby has seen, all others that of the session.
 */

/** Versions of this link that this program speaks; both sides speak the highest that both know. */
export const VERSIONS = { least: 1, most: 1 } as const

export type Follow = {
  readonly kind: 'follow'
  readonly versions: { readonly least: number; readonly most: number }
  /** Name of the shard's record: a certificate is good for all shards of a stream. */
  readonly shard: string
  /** The copy on the standby's volume; whose it is, its certificate says. */
  readonly copy: string
  readonly incarnation: string
}

export type Welcome = {
  readonly kind: 'welcome'
  readonly version: number
  readonly incarnation: string
  /** Said again on the log link: binds both to one session. */
  readonly token: string
  readonly forcedEpoch: number
}

export type BeaconRefusal = 'NotPrimary' | 'Behind' | 'OtherShard' | 'NoCommonVersion'
export type Refused = { readonly kind: 'refused'; readonly because: BeaconRefusal; readonly text: string }

export type BeaconMessage =
  | Follow
  | Welcome
  | Refused
  | { readonly kind: 'beacon'; readonly number: number }
  | { readonly kind: 'promise'; readonly number: number }
  /** The beacon came, and is answered with no promise: its log is not cut yet. Says that somebody is there, and nothing else. */
  | { readonly kind: 'heard'; readonly number: number }
  /** This process ends in order, or its disk is full: nobody need wait for its word. What it promised stays promised. */
  | { readonly kind: 'leaving' }
  /** R6. `last`: the last sequence of the epoch. */
  | { readonly kind: 'over'; readonly last: number }

/** The largest is `refused`, which carries a sentence. */
export const BEACON_FRAME_LIMIT = 4_096

/** Numbers are never used twice. */
const TYPES = { follow: 1, welcome: 2, refused: 3, beacon: 4, promise: 5, heard: 6, over: 7, leaving: 8 } as const satisfies Record<
  BeaconMessage['kind'],
  number
>
const KINDS: ReadonlyMap<number, BeaconMessage['kind']> = new Map(
  Object.entries(TYPES).map(([kind, type]) => [type, kind as BeaconMessage['kind']] as const),
)

const whole = z.int().nonnegative()
const name = z.string().min(1).max(253)
const SCHEMAS = {
  follow: z.object({ versions: z.object({ least: whole, most: whole }), shard: name, copy: name, incarnation: name }),
  welcome: z.object({ version: whole, incarnation: name, token: name, forcedEpoch: whole }),
  refused: z.object({ because: z.enum(['NotPrimary', 'Behind', 'OtherShard', 'NoCommonVersion']), text: z.string() }),
} as const

export function encodeBeaconMessage(message: BeaconMessage): { readonly type: number; readonly parts: readonly Uint8Array[] } {
  const type = TYPES[message.kind]
  switch (message.kind) {
    case 'follow':
    case 'welcome':
    case 'refused': {
      const { kind: _, ...rest } = message
      return { type, parts: [Buffer.from(JSON.stringify(rest))] }
    }
    case 'beacon':
    case 'promise':
    case 'heard':
      return { type, parts: [encodeNumber(message.number)] }
    case 'over':
      return { type, parts: [encodeNumber(message.last)] }
    case 'leaving':
      return { type, parts: [] }
  }
}

/** Throws LinkFault for what is no message. */
export function decodeBeaconMessage({ type, payload }: Pick<Frame, 'type' | 'payload'>): BeaconMessage {
  const kind = KINDS.get(type)
  switch (kind) {
    case 'follow':
      return { kind, ...parseJson(SCHEMAS.follow, kind, payload) }
    case 'welcome':
      return { kind, ...parseJson(SCHEMAS.welcome, kind, payload) }
    case 'refused':
      return { kind, ...parseJson(SCHEMAS.refused, kind, payload) }
    case 'beacon':
    case 'promise':
    case 'heard':
      return { kind, number: decodeNumber(kind, payload) }
    case 'over':
      return { kind, last: decodeNumber(kind, payload) }
    case 'leaving':
      return { kind }
    case undefined:
      throw new LinkFault(`a frame must be of a known type, was of ${type}`)
  }
}

/** The highest version that both speak; undefined when there is none. */
export function commonVersion(theirs: Follow['versions']): number | undefined {
  const version = Math.min(VERSIONS.most, theirs.most)
  return version >= Math.max(VERSIONS.least, theirs.least) ? version : undefined
}

const NUMBER_BYTES = 6

function encodeNumber(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES)
  bytes.writeUIntBE(value, 0, NUMBER_BYTES)
  return bytes
}

function decodeNumber(kind: string, payload: Buffer): number {
  if (payload.length !== NUMBER_BYTES) throw new LinkFault(`a ${kind} must be of ${NUMBER_BYTES} bytes, was of ${payload.length}`)
  return payload.readUIntBE(0, NUMBER_BYTES)
}
