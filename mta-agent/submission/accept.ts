import type { SmtpReply } from '../domain/smtp-reply.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { NotCommitted, QueueFull, type NewMessage, type QueueStore } from '../queue/queue-store.ts'

export type Acceptance =
  | { readonly kind: 'accepted'; readonly queueId: QueueId; readonly reply: SmtpReply }
  | { readonly kind: 'full'; readonly reply: SmtpReply }
  | { readonly kind: 'notCommitted'; readonly reply: SmtpReply }
  | { readonly kind: 'failed'; readonly reply: SmtpReply; readonly error: unknown }

/**
 * 250 means that we own the message now (RFC 5321 section 6.1), so it is the last thing that happens: on our disk, then on the wire.
 * Any throw before that leaves the message with the client, which is the safe side to err on.
 */
export async function acceptMessage(store: Pick<QueueStore, 'append'>, message: NewMessage): Promise<Acceptance> {
  try {
    const queueId = await store.append(message)
    return { kind: 'accepted', queueId, reply: { code: 250, enhanced: '2.0.0', text: `queued as ${queueId}` } }
  } catch (error) {
    if (error instanceof QueueFull)
      return { kind: 'full', reply: { code: 452, enhanced: '4.3.1', text: 'no room in the queue; try later' } }
    if (error instanceof NotCommitted) return { kind: 'notCommitted', reply: NOT_COMMITTED[error.because] }
    return { kind: 'failed', error, reply: { code: 451, enhanced: '4.3.0', text: 'the message could not be stored; try later' } }
  }
}

const NOT_COMMITTED = {
  NoStandbyInSync: { code: 452, enhanced: '4.3.0', text: 'no standby is in sync; try later' },
  NotPrimary: { code: 451, enhanced: '4.3.2', text: 'another instance took over; try again' },
} as const
