import { KERNEL_LATE, type Millis } from './address-holder/lifetimes.ts'
import type { AddressHolder, Attachment, ManagedAddress, Refusal } from './address-holder/port.ts'
import { addressesToHold, NOTHING_TRIED, planAddresses, type Tenure, type Tried } from './address-plan.ts'

/**
 * The source addresses that the agent brings with it (addressAttachment Managed): attached while it may act, extended while its main loop moves,
 * removed when it must let them go. What must never happen: a word to the holder that gives addresses after they were let go.
 */

export type ManagedAddressesOptions = {
  readonly holder: AddressHolder & Disposable
  /** Those of the document as it is now. */
  readonly wanted: () => readonly ManagedAddress[]
  /** Those that connections are or may be opened from. */
  readonly used: () => readonly string[]
  /** How long a deadline may be away at most: the timer `right`. */
  readonly lifetime: Millis
  /** The node's monotonic clock. */
  readonly clock: () => Millis
  readonly sleep: (millis: Millis) => Promise<void>
  /** Something that is said of the addresses has changed. Must not throw. */
  readonly onChange: () => void
  readonly log: AddressLog
}

export type AddressLog = Readonly<Record<'info' | 'warn', (facts: object, message: string) => void>>

export type AddressReport = {
  /** Those that were asked for, and it is known what became of it. */
  readonly tried: readonly string[]
  readonly held: readonly string[]
  readonly refused: readonly Refusal[]
  /** Why nothing is held, where it is not the fault of single addresses. */
  readonly fault: string | undefined
}

/** How often is looked. The right is a number that other threads move without a word, and an eighth of it is 250 ms at the least. */
const LOOK_EVERY: Millis = 100
/** How soon a holder that did not confirm is asked again: it may be another one by then. */
const ASK_AGAIN: Millis = 200

export class ManagedAddresses implements AsyncDisposable {
  readonly #options: ManagedAddressesOptions
  /** Of the time from `hold` to `letGo`; undefined between them. */
  #holding: AbortController | undefined
  #look: (() => void) | undefined
  /** Holding and removing, one after the other. Never rejects. */
  #turn: Promise<void> = Promise.resolve()
  /** With the number of the time for which it is held. */
  #held: ReadonlyMap<string, number> = new Map()
  #times = 0
  #heldUntil: Millis = Number.NEGATIVE_INFINITY
  #told: Millis = Number.NEGATIVE_INFINITY
  #tried: Tried = NOTHING_TRIED
  #refused: readonly Refusal[] = []
  #fault: string | undefined
  /** All that may be on the node, each with the moment at which the kernel has dropped it in any case. */
  readonly #there = new Map<string, { readonly managed: ManagedAddress; readonly goneBy: Millis }>()

  constructor(options: ManagedAddressesOptions) {
    this.#options = options
  }

  /** From now on, as long as the tenure says so. What was let go before is gone first. */
  hold(tenure: () => Tenure): void {
    if (this.#holding !== undefined) return
    const holding = new AbortController()
    this.#holding = holding
    this.#turn = this.#turn.then(() => this.#begin(tenure, holding.signal))
  }

  /** Resolves when none of them is on the node: the holder has said so, or the last deadline and the kernel's lateness are over. */
  letGo(): Promise<void> {
    this.#holding?.abort()
    this.#holding = undefined
    this.#look = undefined
    this.#forget()
    this.#turn = this.#turn.then(() => this.#remove())
    return this.#turn
  }

  /** The document has changed. */
  reconsider(): void {
    this.#look?.()
  }

  /** Whether connections may be opened from it. */
  isAttached(address: string): boolean {
    return this.attachmentOf(address) !== undefined
  }

  /** A number for the time that it is attached now, another one each time; undefined while it is not. */
  attachmentOf(address: string): number | undefined {
    return this.#options.clock() < this.#heldUntil ? this.#held.get(address) : undefined
  }

  /** All that may be on the node. */
  there(): readonly string[] {
    return this.#mayBeThere().map(({ managed }) => managed.address)
  }

  report(): AddressReport {
    const held = [...this.#held.keys()].filter((address) => this.isAttached(address))
    return { tried: this.#tried.wanted.map(({ address }) => address), held, refused: this.#refused, fault: this.#fault }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.letGo()
    this.#options.holder[Symbol.dispose]()
  }

  #begin(tenure: () => Tenure, signal: AbortSignal): void {
    if (signal.aborted) return
    this.#told = Number.NEGATIVE_INFINITY
    let [isAttaching, isExtending] = [false, false]
    const look = (): void => {
      const deed = this.#plan(tenure(), { isAttaching, isExtending })
      if (deed.kind === 'wait') return
      this.#told = deed.deadline
      if (deed.kind === 'attach') {
        isAttaching = true
        void this.#attach(deed.addresses, deed.deadline, signal).finally(() => (isAttaching = false))
      } else {
        isExtending = true
        void this.#extend(deed.deadline, signal).finally(() => (isExtending = false))
      }
    }
    const timer = setInterval(look, LOOK_EVERY)
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
    this.#look = look
    look()
  }

  #plan(tenure: Tenure, underWay: { readonly isAttaching: boolean; readonly isExtending: boolean }) {
    const { clock, lifetime, used, wanted } = this.#options
    return planAddresses({
      now: clock(),
      tenure,
      lifetime,
      wanted: addressesToHold(
        wanted(),
        this.#mayBeThere().map(({ managed }) => managed),
        used(),
      ),
      held: [...this.#held.keys()],
      heldUntil: this.#heldUntil,
      told: this.#told,
      tried: this.#tried,
      ...underWay,
    })
  }

  #mayBeThere() {
    const now = this.#options.clock()
    return [...this.#there.values()].filter(({ goneBy }) => now < goneBy)
  }

  async #attach(addresses: readonly ManagedAddress[], deadline: Millis, signal: AbortSignal): Promise<void> {
    for (const managed of addresses) this.#there.set(managed.address, { managed, goneBy: deadline + KERNEL_LATE })
    await this.#ask(signal, addresses, async () => {
      const answer = await this.#options.holder.attach(addresses, deadline)
      if (signal.aborted) return
      this.#tried = { wanted: addresses, at: this.#options.clock() }
      for (const address of this.#there.keys()) if (!answer.held.includes(address)) this.#there.delete(address)
      this.#noteRefused(answer)
      this.#noteHeld(answer, deadline)
    })
  }

  async #extend(deadline: Millis, signal: AbortSignal): Promise<void> {
    for (const [address, one] of this.#there) {
      if (this.#held.has(address)) this.#there.set(address, { ...one, goneBy: deadline + KERNEL_LATE })
    }
    await this.#ask(signal, this.#tried.wanted, async () => {
      const answer = await this.#options.holder.extend(deadline)
      if (!signal.aborted) this.#noteHeld(answer, deadline)
    })
  }

  /** Whatever fails, nothing is known to be held any more: it is attached again. */
  async #ask(signal: AbortSignal, wanted: Tried['wanted'], deed: () => Promise<void>): Promise<void> {
    try {
      await deed()
    } catch (error) {
      if (signal.aborted) return
      const fault = textOf(error)
      if (fault !== this.#fault) this.#options.log.warn({ error: fault }, 'addresses not held')
      this.#forget()
      this.#fault = fault
      this.#tried = { wanted, at: this.#options.clock() }
      this.#options.onChange()
    }
  }

  #noteRefused({ held, refused }: Attachment): void {
    const before = this.#refused
    this.#refused = refused
    if (!this.#isAsBefore(held) || JSON.stringify(refused) !== JSON.stringify(before)) {
      this.#options.log[refused.length === 0 ? 'info' : 'warn']({ held, refused }, 'addresses attached')
      this.#options.onChange()
    }
  }

  #noteHeld({ held }: Attachment, deadline: Millis): void {
    const isAsBefore = this.#isAsBefore(held)
    this.#held = new Map(held.map((address) => [address, this.attachmentOf(address) ?? ++this.#times]))
    // An answer that was overtaken by one to a later deadline.
    this.#heldUntil = Math.max(this.#heldUntil, deadline)
    this.#fault = undefined
    if (!isAsBefore) this.#options.onChange()
  }

  #isAsBefore(held: readonly string[]): boolean {
    return held.length === this.#held.size && held.every((address) => this.isAttached(address))
  }

  #forget(): void {
    this.#held = new Map()
    this.#heldUntil = Number.NEGATIVE_INFINITY
    this.#refused = []
    this.#fault = undefined
    this.#tried = NOTHING_TRIED
  }

  /** A holder that does not confirm may be another one by the next time. After `goneBy` there is nothing left that it could confirm. */
  async #remove(): Promise<void> {
    const { holder, clock, sleep, log, onChange } = this.#options
    const goneBy = Math.max(Number.NEGATIVE_INFINITY, ...[...this.#there.values()].map((one) => one.goneBy))
    for (let isRemoved = false, tries = 0; !isRemoved; tries++) {
      try {
        await holder.remove()
        isRemoved = true
      } catch (error) {
        const left = goneBy - clock()
        if (tries === 0)
          log.warn({ error: textOf(error), goneInMillis: Math.max(0, Math.ceil(left)) }, 'addresses not confirmed as removed')
        if (left <= 0) isRemoved = true
        else await sleep(Math.min(ASK_AGAIN, left))
      }
    }
    this.#there.clear()
    onChange()
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
