import { setTimeout as wait } from 'node:timers/promises'
import type { QueueId } from '../../domain/queue-id.ts'
import type { LogQueueStore } from '../../queue/log-queue.ts'
import { type DeliveryResult, type NewMessage, NotCommitted, type QueueStore } from '../../queue/queue-store.ts'
import type { FromCoordinator, ReplicationFacts, ToCoordinator } from '../coordinator/messages.ts'
import type { PeerTls } from '../peer-tls.ts'
import type { Millis } from '../timers.ts'
import { PrimarySessions, type ReignFacts } from './primary-sessions.ts'
import { Reign } from './reign.ts'
import { StandbySessions } from './standby-session.ts'

/**
 * One of a shard: what the coordinator decides becomes deeds of the main thread, in the order in which it was said. What must never happen: mail
 * taken in or tried by one who does not lead; a deed of a reign or a session that has ended meanwhile.
 */

/** What the main thread does with its roles. Each is called at most once until its opposite is. */
export type Deeds = {
  /** Begin to deliver from this queue. */
  startDelivery(queue: QueueStore): void
  /** Cut what still runs. Resolves when nothing is being attempted or recorded. */
  stopDelivery(): Promise<void>
  /** Attempts under way. */
  inFlight(): number
  /** End all sessions of clients: nothing more is taken in. */
  interruptClients(): void
  /** Resolves when the kernel has none of the addresses that come and go with the role. */
  removeAddresses(): Promise<void>
}

export type MemberLog = Readonly<Record<'info' | 'warn' | 'error', (facts: object, message: string) => void>>

export type MemberOptions = {
  /** Replicated; `onSyncing` and `neededFrom` of its options go to the methods of that name. */
  readonly store: LogQueueStore
  readonly tls: PeerTls
  readonly listen: { readonly address: string; readonly port: number }
  /** To the coordinator; what it says comes to `take`. */
  readonly post: (message: ToCoordinator) => void
  readonly deeds: Deeds
  readonly log: MemberLog
  /** Something that the report says has changed. */
  readonly onChange: () => void
  /** A deed failed: nothing that was decided since can be relied on. The process must end. */
  readonly onBroken: (error: unknown) => void
  readonly clock: () => Millis
}

export type Gate = 'open' | 'Standby' | 'HandingOver' | 'NoStandbyInSync'

export type MemberReport = {
  readonly facts: ReplicationFacts | undefined
  readonly acceptedAlone: number
  /** Messages in the queue when this instance became primary; undefined before it was. */
  readonly takenOver: number | undefined
  readonly lastSequence: number
  /** What was asked for last and could not be begun. */
  readonly refusal: { readonly request: 'Switchover' | 'Promotion'; readonly because: string } | undefined
}

type MessageOf<K extends FromCoordinator['kind']> = Extract<FromCoordinator, { readonly kind: K }>
type Deed<K extends FromCoordinator['kind']> = (message: MessageOf<K>) => void

/** How often it is looked whether the last transaction has finished. */
const FINISHED_EVERY: Millis = 20
const NOTHING_TOLD = -1

export async function openMember(options: MemberOptions): Promise<Member> {
  await using opening = new AsyncDisposableStack()
  const member = opening.use(new Member(options))
  await member.open()
  opening.move()
  return member
}

export class Member implements AsyncDisposable {
  readonly #options: MemberOptions
  readonly #primary: PrimarySessions
  readonly #standby: StandbySessions
  readonly #resources = new AsyncDisposableStack()
  /** Said to lead, and not yet to step down. The reign begins when its epoch is on the disk. */
  #leading: ReignFacts | undefined
  #reign: Reign | undefined
  #delivers = false
  /** How far the coordinator was told that the log of this reign is. */
  #told = NOTHING_TOLD
  /** Deeds that take their time, one after the other. */
  #deeds: Promise<void> = Promise.resolve()
  #facts: ReplicationFacts | undefined
  #acceptedAlone = 0
  #takenOver: number | undefined
  #refusal: MemberReport['refusal']

  readonly #deedOf: { readonly [K in FromCoordinator['kind']]: Deed<K> } = {
    listening: ({ port }) => this.#options.log.info({ port }, 'listening for beacon links'),
    follow: (message) => this.#standby.follow(message),
    followerJoined: (message) => this.#admit(message),
    sessionEnded: ({ session }) => {
      this.#primary.close(session)
      this.#standby.close(session)
    },
    lead: (message) => {
      const { epoch, forcedEpoch } = message
      const leading = { epoch, forcedEpoch }
      this.#leading = leading
      this.#do(() => this.#lead(leading))
    },
    stepDown: () => this.#stepDown(),
    storeSeen: ({ epoch }) =>
      this.#do(async () => {
        // Nothing of the session before may come after this.
        await this.#standby.closeAll()
        await this.#options.store.storeSeen(epoch)
        this.#options.post({ kind: 'seenStored', epoch })
      }),
    noteQuickClaim: ({ wall }) =>
      this.#do(async () => {
        await this.#options.store.noteQuickClaim(wall)
        this.#options.post({ kind: 'quickClaimNoted', wall })
      }),
    committed: (message) => this.#noteCommitted(message),
    finishTransactions: ({ epoch }) => this.#do(() => this.#finishTransactions(epoch)),
    closeListener: () => this.#closeListener(),
    openListener: () => this.#do(() => this.#openListener()),
    removeAddresses: () => this.#do(() => this.#handOver()),
    switchoverRefused: ({ because }) => this.#noteRefusal({ request: 'Switchover', because }),
    forceRefused: ({ because }) => this.#noteRefusal({ request: 'Promotion', because }),
    status: ({ status }) => {
      this.#facts = status
      this.#options.onChange()
    },
    told: ({ level, facts, message }) => this.#options.log[level](facts, message),
  }

  constructor(options: MemberOptions) {
    this.#options = options
    const { store, tls, clock, post } = options
    const onEnd = ({ instance, error }: { readonly instance: string; readonly error?: unknown }): void =>
      options.log.info({ instance, ...(error === undefined ? {} : { error: textOf(error) }) }, 'log link ended')
    this.#primary = new PrimarySessions({ store, post, onEnd, clock, committed: () => this.#reign?.committed() ?? 0 })
    this.#standby = new StandbySessions({ store, tls, post, onEnd })
  }

  async open(): Promise<void> {
    const { store, tls, listen, log } = this.#options
    const listener = await tls.listen({
      ...listen,
      onPeer: (socket, instance) => void this.#primary.serve(socket, instance),
      onFault: (fault) => log.warn({ error: fault.message }, 'log link refused'),
    })
    this.#resources.use(listener)
    this.#resources.defer(store.onSynced(() => this.#noteSynced()))
  }

  /** What the coordinator has decided, in the order in which it said so. */
  take<K extends FromCoordinator['kind']>(message: MessageOf<K>): void {
    const deed: Deed<K> = this.#deedOf[message.kind as K]
    deed(message)
  }

  /** Whether mail is taken in here, or why not. */
  gate(): Gate {
    if (this.#reign === undefined) return 'Standby'
    if (!this.#reign.isOpen()) return 'HandingOver'
    return this.#facts?.accepting === 'NoStandbyInSync' ? 'NoStandbyInSync' : 'open'
  }

  /** The queue for clients, whoever leads now. */
  async append(message: NewMessage): Promise<QueueId> {
    if (this.#reign === undefined) throw new NotCommitted('NotPrimary')
    return await this.#reign.append(message)
  }

  /** The lowest sequence that a follower still needs; Infinity when none follows. */
  neededFrom(): number {
    return this.#primary.neededFrom()
  }

  report(): MemberReport {
    return {
      facts: this.#facts,
      acceptedAlone: this.#acceptedAlone,
      takenOver: this.#takenOver,
      lastSequence: this.#options.store.lastSequence(),
      refusal: this.#refusal,
    }
  }

  /** Ends all links and what they do to the store. The reign, if there is one, ends with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stepDown()
    await this.#standby.closeAll()
    await this.#deeds
    await this.#resources.disposeAsync()
  }

  /** One after the other, and none is lost: what cannot be done ends the process. */
  #do(deed: () => Promise<void>): void {
    this.#deeds = this.#deeds.then(deed).catch((error: unknown) => this.#options.onBroken(error))
  }

  async #lead(leading: ReignFacts): Promise<void> {
    const { store, deeds, log } = this.#options
    const { epoch } = leading
    await store.beginEpoch(epoch)
    store.setMarksWait(true)
    if (this.#leading !== leading) return store.stopLeading()
    this.#reign = new Reign({
      epoch,
      store,
      onAlone: (queueId) => this.#noteAlone(queueId),
      onUnrecorded: (result) => this.#noteUnrecorded(result),
    })
    this.#takenOver = store.totals().messages
    log.info({ ...leading, messages: this.#takenOver }, 'leading')
    this.#told = NOTHING_TOLD
    this.#noteSynced()
    this.#delivers = true
    deeds.startDelivery(this.#reign.queue())
  }

  /** At once: whoever leads next may act already. */
  #stepDown(): void {
    const { store, deeds, log } = this.#options
    this.#leading = undefined
    const reign = this.#reign
    if (reign === undefined) return
    this.#reign = undefined
    log.info({ epoch: reign.epoch }, 'stepped down')
    reign.end()
    store.stopLeading()
    this.#primary.closeAll()
    deeds.interruptClients()
    this.#stopDelivery()
    // Not after delivery has stopped, which may wait for the disk.
    const removed = deeds.removeAddresses()
    // A failure counts in its turn, below, where it ends the process; until then nobody listens.
    removed.catch(() => undefined)
    this.#do(() => removed)
  }

  #stopDelivery(): void {
    if (!this.#delivers) return
    this.#delivers = false
    const stopped = this.#options.deeds.stopDelivery()
    // It is looked at in its turn, and may have failed before.
    stopped.catch(() => undefined)
    this.#do(() => stopped)
  }

  #noteRefusal(refusal: NonNullable<MemberReport['refusal']>): void {
    // It may be asked for again every few seconds.
    const isNews = this.#refusal?.request !== refusal.request || this.#refusal.because !== refusal.because
    this.#refusal = refusal
    if (isNews) this.#options.log.warn(refusal, 'request refused')
    this.#options.onChange()
  }

  #admit({ session, epoch, copy, token }: MessageOf<'followerJoined'>): void {
    if (this.#leading?.epoch === epoch) this.#primary.open({ session, copy, token }, this.#leading)
    else this.#options.post({ kind: 'logLinkEnded', session })
  }

  #noteSynced(): void {
    const { store, post } = this.#options
    if (this.#reign === undefined) return
    const { epoch } = this.#reign
    const sequence = store.lastSequence()
    if (sequence === this.#told) return
    if (this.#told === NOTHING_TOLD) post({ kind: 'appended', epoch, last: sequence })
    this.#told = sequence
    post({ kind: 'synced', epoch, sequence })
    this.#primary.wake()
  }

  #noteCommitted({ epoch, sequence, how }: MessageOf<'committed'>): void {
    if (this.#reign?.epoch !== epoch) return
    this.#options.store.setCommitted(sequence)
    this.#reign.note({ sequence, how })
    this.#primary.wake()
  }

  // Switchover (section 8).

  async #finishTransactions(epoch: number): Promise<void> {
    const { store, deeds, post } = this.#options
    // On a full disk, which may be why this one hands over, the last transactions would never end.
    store.setMarksWait(false)
    while (this.#reign?.epoch === epoch && this.#delivers && deeds.inFlight() > 0) await wait(FINISHED_EVERY)
    if (this.#reign?.epoch === epoch) post({ kind: 'transactionsEnded', epoch })
  }

  #closeListener(): void {
    const { deeds } = this.#options
    const closed = this.#reign?.close()
    if (closed === undefined) return
    deeds.interruptClients()
    this.#stopDelivery()
    this.#do(() => closed)
  }

  #openListener(): Promise<void> {
    const reign = this.#reign
    this.#options.store.setMarksWait(true)
    reign?.reopen()
    if (reign !== undefined && !this.#delivers) {
      this.#delivers = true
      this.#options.deeds.startDelivery(reign.queue())
    }
    return Promise.resolve()
  }

  /** Nothing is appended any more: the listener is closed and delivery has stopped, each a deed before this one. */
  async #handOver(): Promise<void> {
    const { store, deeds, post } = this.#options
    const reign = this.#reign
    if (reign === undefined || (await reign.reached(store.lastSequence())) === 'ended') return
    await deeds.removeAddresses()
    post({ kind: 'addressesRemoved', epoch: reign.epoch })
  }

  /** By this line it can be told later which messages hung on one disk. */
  #noteAlone(queueId: QueueId): void {
    this.#acceptedAlone++
    this.#options.log.info({ queueId }, 'accepted alone')
  }

  #noteUnrecorded({ queueId, destination, outcomes }: DeliveryResult): void {
    const delivered = outcomes.filter(({ outcome }) => outcome.kind === 'delivered').length
    if (delivered > 0) this.#options.log.warn({ queueId, destination, delivered }, 'delivered after the reign: may be sent again')
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
