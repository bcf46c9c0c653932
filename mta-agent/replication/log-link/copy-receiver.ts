import type { CopyTarget } from '../../queue/log-queue.ts'
import { type Link, unexpected } from './link.ts'

/**
 * The standby's side of a full copy: one step after the other, each durable before the next is read, so that what is under way is bounded by
 * what the connection holds. What must never happen: a copy that is finished while something is missing (the store refuses that).
 */
export async function receiveCopy(link: Link, epoch: number, target: CopyTarget): Promise<void> {
  for (;;) {
    const message = await link.next(epoch)
    if (message?.kind === 'named') link.send(epoch, { kind: 'wanted', queueIds: await target.put(message.messages) })
    else if (message?.kind === 'contents') await target.putContents(message.contents)
    else if (message?.kind === 'copied') return await target.finish()
    else throw unexpected('a part of the copy', message)
  }
}
