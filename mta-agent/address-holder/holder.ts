import { bounded, type Grant, granted, type Millis, NO_GRANT, planDeed } from './lifetimes.ts'
import { isLasting, judgePlacement } from './placement.ts'
import type { Attachment, Kernel, ManagedAddress, NetworkView, Placed, Refusal } from './port.ts'
import { Turns } from './turns.ts'

/**
 * Holds addresses for one agent until the deadline it was given last. Everything that touches the kernel goes in turns; while the neighbourhood is
 * asked, nobody's turn is taken, so the addresses that are held already are extended meanwhile.
 */

/** One round trip on a local network takes a few milliseconds, and a busy machine some more. */
export const PROBE_MILLIS: Millis = 300

export type HolderPorts = {
  readonly kernel: Kernel
  readonly clock: () => Millis
  readonly sleep: (millis: Millis) => Promise<void>
  /** Tells the neighbourhood; takes as long as it takes, and stops when `signal` fires. */
  readonly announce: (addresses: readonly Placed[], isHeld: (address: string) => boolean, signal: AbortSignal) => Promise<void>
  readonly onTrouble: (message: string, error: unknown) => void
}

/** `remove` came while the addresses were being attached. */
export class Removed extends Error {
  override readonly name = 'Removed'
}

export class Holder {
  readonly #ports: HolderPorts
  readonly #turns = new Turns()
  #held: ReadonlyMap<string, Placed> = new Map()
  #grant: Grant = NO_GRANT
  /** Fires when the addresses are taken away. */
  #reign = new AbortController()
  #announcing: Promise<unknown> = Promise.resolve()
  #alarm: NodeJS.Timeout | undefined
  #isAttaching = false

  constructor(ports: HolderPorts) {
    this.#ports = ports
  }

  /** As AddressHolder.attach. */
  async attach(wanted: readonly ManagedAddress[], deadline: Millis): Promise<Attachment> {
    if (this.#isAttaching) throw new Error('one attach at a time')
    this.#isAttaching = true
    const { signal } = this.#reign
    try {
      const { placed, refused } = await this.#turns.take(() => this.#prepare(wanted, deadline))
      const fresh = placed.filter(({ state }) => state === 'fresh').map(({ address }) => address)
      const inUse = await this.#askFor(fresh)
      if (signal.aborted) throw new Removed('the addresses were removed while they were being attached')
      const chosen = placed.map(({ address }) => address).filter(({ address }) => !inUse.some((one) => one.address === address))
      const failed = await this.#turns.take(() => this.#put(chosen, signal))
      const isNew = ({ address }: Placed) =>
        fresh.some((one) => one.address === address) || placed.some((one) => one.address.address === address && !one.wasHeld)
      this.#tell(
        chosen.filter((one) => this.#held.has(one.address) && isNew(one)),
        signal,
      )
      return this.#attachment([...refused, ...inUse, ...failed])
    } finally {
      this.#isAttaching = false
    }
  }

  /** As AddressHolder.extend. */
  async extend(deadline: Millis): Promise<Attachment> {
    const failed = await this.#turns.take(async () => {
      // Beyond the old deadline they are gone, or about to be: what comes back must be asked for and announced again.
      if (this.#ports.clock() >= this.#grant.deadline) await this.#clear()
      else this.#setDeadline(deadline)
      return this.#settle()
    })
    return this.#attachment(failed)
  }

  /** Throws unless all that were held, and of the `named` all that a holder has put there, are gone. */
  async remove(named: readonly string[] = []): Promise<void> {
    this.#reign.abort()
    this.#reign = new AbortController()
    await this.#announcing
    await this.#turns.take(async () => {
      const all = [...named, ...this.#held.keys()]
      await this.#clear()
      const left = leftOver(await this.#ports.kernel.look(), all)
      if (left.length === 0) return
      await this.#ports.kernel.remove(left)
      const still = leftOver(await this.#ports.kernel.look(), all)
      if (still.length > 0) throw new Error(`the kernel still has ${still.map(({ address }) => address).join(', ')}`)
    })
  }

  /** Judges, and takes away what is not wanted any more. */
  async #prepare(wanted: readonly ManagedAddress[], deadline: Millis) {
    if (this.#ports.clock() >= this.#grant.deadline) await this.#clear()
    const { placed, refused } = judgePlacement(wanted, await this.#ports.kernel.look())
    const kept = new Set(placed.map(({ address }) => address.address))
    const unwanted = [...this.#held.values()].filter(({ address }) => !kept.has(address))
    if (unwanted.length > 0) await this.#ports.kernel.remove(unwanted)
    this.#held = new Map([...this.#held].filter(([address]) => kept.has(address)))
    this.#setDeadline(deadline)
    this.#arm()
    return { placed: placed.map((one) => ({ ...one, wasHeld: this.#held.has(one.address.address) })), refused }
  }

  async #askFor(fresh: readonly Placed[]): Promise<readonly Refusal[]> {
    const asked = fresh.filter(({ hasNeighbours }) => hasNeighbours)
    if (asked.length === 0) return []
    await this.#turns.take(() => this.#ports.kernel.solicit(asked))
    await this.#ports.sleep(PROBE_MILLIS)
    const answers = await this.#turns.take(() => this.#ports.kernel.answers(asked))
    return answers.map(({ address, linkAddress }) => ({ address, reason: 'InUse', message: `${linkAddress} answers for it` }))
  }

  async #put(chosen: readonly Placed[], signal: AbortSignal): Promise<readonly Refusal[]> {
    if (signal.aborted) throw new Removed('the addresses were removed while they were being attached')
    if (chosen.length === 0) return []
    this.#held = new Map(chosen.map((one) => [one.address, one]))
    // As if nothing had been given: the new ones get what the others get, in one go, so that all end together.
    this.#grant = { ...this.#grant, until: Number.NEGATIVE_INFINITY }
    const failed = await this.#settle()
    const gone = chosen.filter(({ address }) => !this.#held.has(address) && !failed.some((one) => one.address === address))
    return [
      ...failed,
      ...gone.map(({ address }) => ({
        address,
        reason: 'TooLate' as const,
        message: 'the deadline has come, or is less than a second away',
      })),
    ]
  }

  /** Does what is due until nothing is. Whatever the kernel does not do ends in removal; what that does not reach ends by itself. */
  async #settle(): Promise<readonly Refusal[]> {
    const { kernel, clock } = this.#ports
    let failed: readonly Refusal[] = []
    try {
      while (this.#held.size > 0) {
        const deed = planDeed(this.#grant, clock())
        if (deed.kind === 'keep') break
        if (deed.kind === 'remove') {
          await this.#clear()
          break
        }
        const refused = await kernel.setLifetimes([...this.#held.values()], deed.seconds)
        this.#grant = granted(this.#grant, deed.seconds, clock())
        failed = [...failed, ...refused]
        this.#held = new Map([...this.#held].filter(([address]) => !refused.some((one) => one.address === address)))
      }
    } catch (error) {
      await this.#clear().catch((second: unknown) => {
        throw new AggregateError([error, second], 'addresses could neither be extended nor removed')
      })
      throw error
    }
    this.#arm()
    return failed
  }

  async #clear(): Promise<void> {
    clearTimeout(this.#alarm)
    const going = [...this.#held.values()]
    this.#held = new Map()
    this.#grant = NO_GRANT
    if (going.length > 0) await this.#ports.kernel.remove(going)
  }

  #setDeadline(deadline: Millis): void {
    this.#grant = { ...this.#grant, deadline: bounded(deadline, this.#ports.clock()) }
  }

  /** The kernel may be a second late; we are not. */
  #arm(): void {
    clearTimeout(this.#alarm)
    if (this.#held.size === 0) return
    this.#alarm = setTimeout(() => {
      this.#turns
        .take(() => this.#settle())
        .catch((error: unknown) => this.#ports.onTrouble('addresses could not be removed at their deadline', error))
    }, this.#grant.deadline - this.#ports.clock())
  }

  #tell(added: readonly Placed[], signal: AbortSignal): void {
    const told = added.filter(({ hasNeighbours }) => hasNeighbours)
    if (told.length === 0 || signal.aborted) return
    const announced = this.#ports
      .announce(told, (address) => this.#held.has(address) && this.#ports.clock() < this.#grant.deadline, signal)
      .catch((error: unknown) => this.#ports.onTrouble('addresses could not be announced', error))
    this.#announcing = Promise.all([this.#announcing, announced])
  }

  #attachment = (refused: readonly Refusal[]): Attachment => ({ held: [...this.#held.keys()], refused })
}

/** What a holder has put there, be it this one or one before it in this Pod: it ends soon. */
function leftOver({ interfaces }: NetworkView, named: readonly string[]): Placed[] {
  return interfaces.flatMap(({ name, hasNeighbours, addresses }) =>
    addresses
      .filter((entry) => named.includes(entry.address) && !isLasting(entry))
      .map(({ address, prefixLength }) => ({
        address,
        prefixLength,
        interface: name,
        hasNeighbours,
        family: address.includes(':') ? 6 : 4,
      })),
  )
}
