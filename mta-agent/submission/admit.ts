import type { SmtpReply } from '../domain/smtp-reply.ts'

/** May this message enter? Pure: facts in, verdict out. Asked at MAIL, and again at DATA, so that a client hears no before it sends a body. */

export type AdmitFacts = {
  readonly mode: 'Run' | 'Hold' | 'Drain'
  /** The process is going down: running transactions may end, none may begin. */
  readonly stopping: boolean
  /** Why this instance takes no mail now, where it is one of a shard with standbys (hot standby, R2). */
  readonly gate: 'open' | SmtpReply
  /** By AUTH, or by being in an allowed network. */
  readonly mayRelay: boolean
  /** SIZE as declared at MAIL; undefined when it was not. */
  readonly declaredBytes: number | undefined
  readonly maxMessageBytes: number
  readonly queueRoom: 'room' | 'full'
  /** Bytes of messages being received by all sessions, and how many they may be. */
  readonly inFlightBytes: number
  readonly maxInFlightBytes: number
}

export type Verdict = 'admitted' | { readonly refused: SmtpReply }

export function judgeMail(facts: AdmitFacts): Verdict {
  if (facts.stopping) return no(421, '4.3.2', 'this instance is stopping; try again')
  if (facts.mode === 'Drain') return DRAINING
  if (facts.mode === 'Hold') return no(451, '4.3.2', 'the stream is on hold and accepts no mail; try later')
  if (facts.gate !== 'open') return { refused: facts.gate }
  if (!facts.mayRelay) return no(530, '5.7.0', 'authentication required')
  return judgeData(facts)
}

/**
 * The part that can change between MAIL and DATA without being anybody's fault. A drain ends open transactions here: nothing may come into
 * the queue after it was called empty. A hold lets them end.
 */
export function judgeData(facts: AdmitFacts): Verdict {
  if (facts.mode === 'Drain') return DRAINING
  if (facts.gate !== 'open') return { refused: facts.gate }
  const declared = facts.declaredBytes ?? 0
  if (declared > facts.maxMessageBytes)
    return no(552, '5.3.4', `message must have at most ${facts.maxMessageBytes} bytes, was declared with ${declared}`)
  if (facts.queueRoom === 'full') return no(452, '4.3.1', 'no room in the queue; try later')
  if (facts.inFlightBytes + declared > facts.maxInFlightBytes) return no(452, '4.3.1', 'too many messages are being received; try later')
  return 'admitted'
}

const DRAINING: Verdict = {
  refused: { code: 421, enhanced: '4.3.2', text: 'this instance is draining and accepts no mail; try again' },
}
const no = (code: number, enhanced: string, text: string): Verdict => ({ refused: { code, enhanced, text } })
