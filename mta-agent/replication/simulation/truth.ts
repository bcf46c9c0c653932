import type { ForceRefusal } from '../agent-state.ts'
import { sameHolder, type ShardRecord } from '../record.ts'
import type { Entry, Volume } from './volume.ts'

/** A property of README.md, section 1, that does not hold. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly property: Property

  constructor(property: Property, message: string) {
    super(`${property}: ${message}`)
    this.property = property
  }
}

export type Property = 'S1' | 'S2' | 'S3' | 'S4' | 'L1'

/** `copies`: the ids of all that had it then. */
type Acknowledged = { readonly how: 'inSync' | 'alone'; readonly epoch: number; readonly copies: readonly string[] }
type Told = { acknowledged?: Acknowledged; readonly deliveredAt: number[]; markedIn?: number }

/** What an observer who sees everything knows, and S2 to S4 in terms of it. S1 is in checks.ts. */
export class Truth {
  readonly #messages: Told[] = []
  /** Every disk that still exists, by copy id, in a node or not. */
  readonly volumes = new Map<string, Volume>()
  readonly #entries = new Map<string, Entry>()
  readonly #reigns = new Map<number, string>()
  /** Something that S2 depends on has changed since it was checked. */
  #isStale = false
  readonly strict: boolean

  constructor(strict: boolean) {
    this.strict = strict
  }

  changed(): void {
    this.#isStale = true
  }

  newMessage(): number {
    return this.#messages.push({ deliveredAt: [] }) - 1
  }

  acknowledged(message: number, how: Acknowledged): void {
    if (this.strict && how.how === 'alone') throw new Violation('S2', `message ${message} is acknowledged alone under Strict`)
    this.#messages[message]!.acknowledged = how
    this.changed()
  }

  /** S4: again only if the mark was not yet with everybody who may be promoted, or a promotion was forced since. */
  delivered(message: number, epoch: number, current: ShardRecord): void {
    const { forcedEpoch } = current
    const lacks = this.#promotable(current).find((volume) => !volume.durable.has(message))
    if (lacks && epoch >= forcedEpoch)
      throw new Violation('S2', `message ${message} is delivered and not durable in ${lacks.copy}, which is in the set`)
    const told = this.#messages[message]!
    if (told.deliveredAt.includes(epoch)) throw new Violation('S4', `message ${message} is delivered twice in epoch ${epoch}`)
    if (told.markedIn !== undefined && forcedEpoch <= told.markedIn) {
      throw new Violation('S4', `message ${message} is delivered in epoch ${epoch}, its mark was committed in ${told.markedIn}`)
    }
    told.deliveredAt.push(epoch)
    this.changed()
  }

  markCommitted(message: number, epoch: number): void {
    const told = this.#messages[message]!
    told.markedIn = Math.max(told.markedIn ?? 0, epoch)
  }

  /** S3: an epoch and a sequence name one entry, and all before it. */
  appended(volume: Volume, entry: Entry): void {
    const before = volume.log.at(-1)
    if (entry.sequence !== volume.log.length + 1 || entry.previous !== before) {
      throw new Violation(
        'S3',
        `entry ${nameOf(entry)} is put on ${nameOf(before)} in ${volume.copy}, its reign put it on ${nameOf(entry.previous)}`,
      )
    }
    const known = this.#entries.get(nameOf(entry))
    if (known !== undefined && known !== entry) throw new Violation('S3', `two entries are named ${nameOf(entry)}`)
    this.#entries.set(nameOf(entry), entry)
    if (entry.kind === 'message' && volume.log.some((one) => one.kind === 'message' && one.message === entry.message)) {
      throw new Violation('S2', `message ${entry.message} is twice in the log of ${volume.copy}`)
    }
  }

  /** S3: after its cut a follower has a part of its primary's log, no more. */
  followed(volume: Volume, primarysLog: readonly Entry[]): void {
    const last = volume.log.at(-1)
    if (last !== undefined && primarysLog[volume.log.length - 1] !== last) {
      throw new Violation('S3', `${volume.copy} follows with ${nameOf(last)}, which its primary does not have`)
    }
  }

  leads(epoch: number, incarnation: string, volume: Volume): void {
    if (!volume.complete) throw new Violation('S3', `epoch ${epoch} is led by ${volume.copy}, which is not complete`)
    const other = this.#reigns.get(epoch)
    if (other !== undefined) throw new Violation('S3', `epoch ${epoch} is led by ${other}, and by ${incarnation}`)
    this.#reigns.set(epoch, incarnation)
  }

  /** The admin of the simulation asks only where R9 lets him; the record may have changed since. */
  forceRefused(agent: string, because: ForceRefusal): void {
    if (because === 'InSet') throw new Violation('L1', `no complete copy of the set lives, and ${agent} cannot be forced: ${because}`)
  }

  recordChanged(before: ShardRecord, after: ShardRecord): void {
    const isSound = after.epoch === before.epoch ? sameHolder(after.holder, before.holder) : after.epoch > before.epoch
    if (!isSound) {
      throw new Violation(
        'S3',
        `the record goes from ${before.holder.incarnation} in ${before.epoch} to ${after.holder.incarnation} in ${after.epoch}`,
      )
    }
    this.changed()
  }

  checkMail(current: ShardRecord): void {
    if (!this.#isStale) return
    this.#isStale = false
    const promotable = this.#promotable(current)
    const volumes = [...this.volumes.values()]
    for (const [message, { acknowledged, deliveredAt }] of this.#messages.entries()) {
      if (!acknowledged) continue
      if (acknowledged.epoch >= current.forcedEpoch) {
        const lacks = promotable.find((volume) => !volume.durable.has(message))
        if (lacks)
          throw new Violation(
            'S2',
            `message ${message}, acknowledged in ${acknowledged.epoch}, is not durable in ${lacks.copy}, which is in the set`,
          )
      }
      if (deliveredAt.length === 0 && this.#isOwed(acknowledged) && !volumes.some((volume) => volume.has(message))) {
        throw new Violation('S2', `message ${message}, acknowledged by ${acknowledged.copies.join(' and ')}, is nowhere`)
      }
    }
  }

  /** Acknowledged, not delivered, and a disk that had it then still exists. */
  undelivered(): readonly number[] {
    return this.#messages.flatMap(({ acknowledged, deliveredAt }, message) =>
      acknowledged && deliveredAt.length === 0 && this.#isOwed(acknowledged) ? [message] : [],
    )
  }

  get counts(): { readonly submitted: number; readonly acknowledged: number; readonly delivered: number; readonly twice: number } {
    const count = (test: (told: Told) => boolean): number => this.#messages.filter(test).length
    return {
      submitted: this.#messages.length,
      acknowledged: count(({ acknowledged }) => acknowledged !== undefined),
      delivered: count(({ deliveredAt }) => deliveredAt.length > 0),
      twice: count(({ deliveredAt }) => deliveredAt.length > 1),
    }
  }

  #promotable({ inSync }: ShardRecord): readonly Volume[] {
    return inSync.flatMap(({ copy }) => this.volumes.get(copy) ?? [])
  }

  #isOwed({ copies }: Acknowledged): boolean {
    return copies.some((copy) => this.volumes.has(copy))
  }
}

const nameOf = (entry: Entry | undefined): string => (entry ? `${entry.epoch}/${entry.sequence}` : 'nothing')
