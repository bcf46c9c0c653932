/**
 * The name of an accepted message: epoch and sequence of the log entry that stored it (hot standby, section 2). It is what clients
 * read in the 250, what logs say, and what orders messages: an older message has the smaller id.
 */
export type QueueId = string & { readonly __brand: 'QueueId' }
export type LogPosition = { readonly epoch: number; readonly sequence: number }

/** Epoch and sequence. Without names for them: it is matched many times for each message. */
const SHAPE = /^([1-9][0-9]{0,9})-([1-9][0-9]{0,15})$/

export const formatQueueId = (position: LogPosition): QueueId => `${position.epoch}-${position.sequence}` as QueueId

export function parseQueueId(text: string): LogPosition {
  const found = SHAPE.exec(text)
  if (!found) throw new RangeError(`not a queue id: must be EPOCH-SEQUENCE, was ${JSON.stringify(text)}`)
  return { epoch: Number(found[1]), sequence: Number(found[2]) }
}
