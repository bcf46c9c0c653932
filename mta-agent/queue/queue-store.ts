import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Domain, Envelope, Recipient } from '../domain/envelope.ts'
import type { QueueId } from '../domain/queue-id.ts'

/**
 * The queue, in words of mail. Whatever a promise of this port says is durable has been fsynced when the promise resolves; whatever
 * rejects has changed nothing that anyone will ever see. A store that cannot keep that ends the process (`onBroken`).
 */

/** Milliseconds since the epoch, by the wall clock: schedules survive restarts and moves to other machines. */
export type Millis = number

/** A message as it shall be stored: CRLF line ends, our Received line in front. The Buffer is owned by the store from now on. */
export type NewMessage = {
  readonly envelope: Envelope
  readonly content: Buffer
  readonly acceptedAt: Millis
}

/** The recipients of one message at one destination. They are attempted together and share one schedule. */
export type Delivery = {
  readonly queueId: QueueId
  readonly destination: Domain
  /** Those still to be served, with their index in the envelope. */
  readonly recipients: readonly (Recipient & { readonly index: number })[]
  /** How often it was tried; 0 before the first attempt. */
  readonly attempts: number
  readonly dueAt: Millis
  readonly acceptedAt: Millis
  readonly sizeBytes: number
}

/** What one attempt came to. Recipients without an outcome stay as they were. */
export type DeliveryResult = {
  readonly queueId: QueueId
  readonly destination: Domain
  readonly at: Millis
  readonly outcomes: readonly { readonly index: number; readonly outcome: DeliveryOutcome }[]
  /** When the deferred ones are due again; required if there are any. */
  readonly nextAttemptAt?: Millis
}

export type StoredMessage = {
  readonly queueId: QueueId
  readonly envelope: Envelope
  readonly acceptedAt: Millis
  readonly sizeBytes: number
}

export type QueueTotals = {
  readonly messages: number
  readonly recipients: number
  /** Recipients that were tried and wait for their next attempt. */
  readonly deferred: number
  readonly contentBytes: number
  readonly oldestAcceptedAt?: Millis
}

/** How many more deliveries of this destination may be taken now; 0 leaves all of them. Pure for the length of one call. */
export type DestinationRoom = (destination: Domain) => number

/** Thrown by append when there is no room. Nothing was stored; the client is told 452 and keeps the message. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull'
}

/**
 * Thrown by append of a queue that has standbys: the message is in the log here, but nobody may be told so. It may be delivered all the same,
 * and the client keeps it: another message, when it comes again.
 */
export class NotCommitted extends Error {
  override readonly name = 'NotCommitted'
  readonly because: 'NoStandbyInSync' | 'NotPrimary'

  constructor(because: NotCommitted['because']) {
    super(because)
    this.because = because
  }
}

export type QueueStore = AsyncDisposable & {
  /** Stores the message and schedules it for now. Resolves, when durable, to its name. Rejects with QueueFull when there is no room, with NotCommitted when standbys must have it and do not. */
  append(message: NewMessage): Promise<QueueId>
  /**
   * Deliveries due at `now`, earliest first, at most `limit`, and of each destination at most `room`. They are taken: no other call
   * returns them until `settle` or `release`. Taking is memory only; after a restart everything unsettled is due again.
   * A destination without room must cost no more than asking: a million deliveries behind it may not be walked through.
   */
  takeDue(now: Millis, limit: number, room?: DestinationRoom): readonly Delivery[]
  /** When the earliest delivery that is not taken, and whose destination has room, falls due; undefined when there is none. */
  nextDueAt(room?: DestinationRoom): Millis | undefined
  /**
   * Deliveries of messages accepted before `acceptedBefore`, due or not, oldest message first, at most `limit`. They are taken, as by
   * takeDue. This is how mail for a destination that is not being dialled still comes back to its sender in time.
   */
  takeExpired(acceptedBefore: Millis, limit: number): readonly Delivery[]
  /** Called after something became due that was not there before. One listener; it must not throw. */
  onDue(listener: () => void): void
  /** Gives back deliveries that were taken and not attempted; due as before. */
  release(deliveries: readonly Delivery[]): void
  /**
   * Records an attempt and, in the same log entry, stores the report that it calls for. Resolves when durable.
   * Delivered and bounced recipients are done; a message without recipients left is gone.
   */
  settle(result: DeliveryResult, report?: NewMessage): Promise<void>
  /** Settling no longer waits for a full disk to have room: where there is none, it rejects, and the store is at its end. */
  stopWaiting(): void
  /** undefined when the message is gone. Throws CorruptRecord where its envelope is damaged. */
  readMessage(queueId: QueueId): StoredMessage | undefined
  /** The content; undefined when the message is gone. Throws CorruptRecord where it is not what was accepted. */
  readContent(queueId: QueueId): Buffer | undefined
  totals(): QueueTotals
  /** 'full' while append would reject. Looked at before DATA, so that a client hears 452 before it sends the body. */
  room(sizeBytes: number): 'room' | 'full'
}
