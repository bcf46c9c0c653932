import type { HealthReport } from './contract/admin-api.ts'
import type { QueueTotals } from './queue/queue-store.ts'

/** What the agent is doing now, in the words that condition, health check and log share. Pure. */

export type Activity = {
  readonly mode: 'Run' | 'Hold' | 'Drain'
  readonly stopping: boolean
  readonly room: 'room' | 'full'
  readonly totals: QueueTotals
  /** Messages being received or stored by submission. */
  readonly receiving: number
  /** Deliveries being attempted or recorded. */
  readonly inFlight: number
  /** Of an instance of a shard with standbys. */
  readonly member?: { readonly gate: 'open' | NotOpen; readonly isFollowing: boolean }
}

/** Why an instance of a shard takes no mail in. */
export type NotOpen = 'Standby' | 'HandingOver' | 'NoStandbyInSync'

const NOT_OPEN: Readonly<Record<NotOpen, string>> = {
  Standby: 'another instance of the shard accepts and delivers; this one keeps a copy',
  HandingOver: 'the instance is handing over to its standby',
  NoStandbyInSync: 'no standby is in sync, and mail is to be on two disks: clients are told 452 and keep their mail',
}

export type Judgement = { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string }

/** Whether mail is accepted. The Service sends clients here only while it is: a draining instance would answer them 421. */
export function judgeAccepting(now: Activity): Judgement {
  if (now.stopping) return no('Stopping', 'the process is stopping')
  if (now.member !== undefined && now.member.gate !== 'open') return no(now.member.gate, NOT_OPEN[now.member.gate])
  if (now.mode === 'Hold') return no('Held', 'mode is Hold: no mail is accepted')
  if (now.mode === 'Drain') return no('Draining', 'mode is Drain: no mail is accepted')
  if (now.room === 'full') return no('QueueFull', 'the queue volume is full: clients are told 452 and keep their mail')
  return { status: 'True', reason: 'Accepting', message: 'mail is accepted' }
}

/** Whether the instance does its part: a primary accepts, a standby follows. */
export function judgeReady(now: Activity): Judgement {
  if (now.stopping || now.member?.gate !== 'Standby') return judgeAccepting(now)
  if (now.member.isFollowing) return { status: 'True', reason: 'Following', message: 'the instance follows the primary of its shard' }
  return no('NotFollowing', 'the instance has no primary to follow')
}

/** Only when nothing is left that could still be sent, and nothing can come any more: the volume may be deleted on this word. */
export function judgeDrained(now: Activity): Judgement {
  if (now.mode !== 'Drain') return no('NotDraining', `mode is ${now.mode}`)
  if (now.totals.messages > 0 || now.inFlight > 0) return no('Draining', 'messages are still queued')
  if (now.receiving > 0) return no('Draining', 'messages are still being received')
  return { status: 'True', reason: 'QueueEmpty', message: 'nothing is queued and nothing is accepted' }
}

export const healthOf = (judged: Judgement): HealthReport => ({
  status: judged.status === 'True' ? 'ok' : 'unavailable',
  reason: judged.reason,
  message: judged.message,
})

const no = (reason: string, message: string): Judgement => ({ status: 'False', reason, message })
