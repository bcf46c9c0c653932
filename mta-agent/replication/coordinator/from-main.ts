import type { AgentState, EventOf, Primary, RoleEvent } from '../agent-state.ts'
import type { Millis } from '../timers.ts'
import type { ToCoordinator } from './messages.ts'

/** What the main thread says of the log and the reign, as events; nothing for what belongs to another reign. Pure. */

type OfReign = 'appended' | 'synced' | 'switchover' | 'switchoverCalledOff' | 'transactionsEnded' | 'addressesRemoved'
type OfProcess = 'force' | 'seenStored' | 'completed'
type Said<K extends ToCoordinator['kind']> = Extract<ToCoordinator, { readonly kind: K }>
export type PlainMessage = Said<OfReign | OfProcess>

type Reading = {
  readonly [K in OfReign]: (message: Said<K>, at: Millis, role: Primary) => readonly RoleEvent[]
} & { readonly [K in OfProcess]: (message: Said<K>, at: Millis) => readonly RoleEvent[] }

const plain = ({ kind }: Said<'switchover' | 'switchoverCalledOff' | 'transactionsEnded' | 'addressesRemoved'>, at: Millis) => [
  { kind, at } as EventOf<typeof kind>,
]

const READING: Reading = {
  appended: ({ last }, at) => [{ kind: 'appended', at, last }],
  // What is on the disk is in the log: no follower may be taken for one that has the whole log without it.
  synced: ({ sequence }, at, { last }) => [
    ...(last < sequence ? [{ kind: 'appended', at, last: sequence } as const] : []),
    { kind: 'synced', at, sequence },
  ],
  switchover: plain,
  switchoverCalledOff: plain,
  transactionsEnded: plain,
  addressesRemoved: plain,
  force: ({ recordVersion: version, incompleteToo }, at) => [{ kind: 'force', at, force: { version, incompleteToo } }],
  seenStored: ({ epoch }, at) => [{ kind: 'seenStored', at, epoch }],
  completed: (_, at) => [{ kind: 'completed', at }],
}

export const isPlain = (message: ToCoordinator): message is PlainMessage => message.kind in READING

export function eventsOf(message: PlainMessage, { role }: AgentState, at: Millis): readonly RoleEvent[] {
  const read = READING[message.kind] as (message: PlainMessage, at: Millis, role: AgentState['role']) => readonly RoleEvent[]
  if (!isOfReign(message)) return read(message, at, role)
  return role.kind === 'primary' && role.epoch === message.epoch ? read(message, at, role) : []
}

const isOfReign = (message: PlainMessage): message is Said<OfReign> => message.kind !== 'seenStored' && 'epoch' in message
