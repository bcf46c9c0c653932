import type { QueueId } from '../../domain/queue-id.ts'
import type { CopiedContent, CopySource } from '../../queue/log-queue.ts'
import { LinkFault } from './frames.ts'
import type { Link } from './link.ts'

/**
 * The primary's side of a full copy (README.md, section 7): each stretch of the inventory is named, and what the standby lacks of it follows.
 * What must never happen: it goes on before the standby has what it wanted; contents lie in memory that nobody takes.
 */

const CONTENTS_BYTES = 8 * 2 ** 20

export async function sendCopy(link: Link, epoch: number, source: CopySource): Promise<void> {
  for (const messages of source.inventory()) {
    link.send(epoch, { kind: 'named', messages })
    const { queueIds } = await link.expect('wanted', epoch)
    const named = new Set(messages.map(({ queueId }) => queueId))
    const stranger = queueIds.find((queueId) => !named.has(queueId))
    if (stranger !== undefined) throw new LinkFault(`what is wanted must have been named just before, was ${stranger}`)
    for (const contents of piles(source, queueIds)) {
      link.send(epoch, { kind: 'contents', contents })
      await link.drained()
    }
  }
}

/** One content at least, and no more than one beyond the bound. */
function* piles(source: CopySource, queueIds: readonly QueueId[]): Generator<readonly CopiedContent[]> {
  let pile: CopiedContent[] = []
  let bytes = 0
  for (const queueId of queueIds) {
    const content = source.content(queueId)
    pile.push({ queueId, content })
    bytes += content?.length ?? 0
    if (bytes < CONTENTS_BYTES) continue
    yield pile
    pile = []
    bytes = 0
  }
  if (pile.length > 0) yield pile
}
