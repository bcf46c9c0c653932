import type { MTAInstance } from '#crds/mta-instance.ts'

/**
 * The document that the next start finds on the volume when there is no API server. What must never happen: that an address which it may still name is
 * reported as let go, for the next process could send from it when it is another's.
 */

export type KeeperOptions = {
  readonly keep: (instance: MTAInstance) => Promise<void>
  /** Takes away what is kept. */
  readonly forget: () => Promise<void>
  /** It may name other addresses than before. Must not throw. */
  readonly onChange: () => void
  readonly onFailure: (error: unknown) => void
}

export class DocumentKeeper {
  readonly #options: KeeperOptions
  /** One writing after the other: two at once would rename each other's file away. Never rejects. */
  #turn: Promise<void> = Promise.resolve()
  /** Of each document that may be there, or will be when its turn has come. */
  #named: readonly (readonly string[])[] = []

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  /**
   * Resolves when the document, or none, is kept. A full disk must not keep the agent from taking a changed one; it only cannot start from it without
   * the API server.
   */
  keep(instance: MTAInstance): Promise<void> {
    const addresses = instance.spec.addresses.map(({ address }) => address)
    this.#named = [...this.#named, addresses]
    this.#turn = this.#turn.then(() => this.#write(instance, addresses))
    return this.#turn
  }

  /** Source addresses that a process which starts from what is kept may use. */
  addresses(): readonly string[] {
    return [...new Set(this.#named.flat())]
  }

  async settled(): Promise<void> {
    await this.#turn
  }

  async #write(instance: MTAInstance, addresses: readonly string[]): Promise<void> {
    const { keep, forget, onChange, onFailure } = this.#options
    try {
      await keep(instance)
      this.#note(addresses, [addresses])
    } catch (error) {
      onFailure(error)
      await forget().then(() => this.#note(addresses, []), onFailure)
    }
    onChange()
  }

  /** What came before `addresses`, and these themselves, is `left`; what is to come stays. */
  #note(addresses: readonly string[], left: readonly (readonly string[])[]): void {
    this.#named = [...left, ...this.#named.slice(this.#named.indexOf(addresses) + 1)]
  }
}
