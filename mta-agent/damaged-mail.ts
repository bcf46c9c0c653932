import type { QueueId } from './domain/queue-id.ts'
import type { CorruptRecord } from './queue/record.ts'

/** Which messages the disk did not keep as they were accepted, as far as this process has met them: each is told of once. */

export type DamagedMailPorts = {
  readonly log: { error(facts: object, message: string): void }
  readonly counter: { inc(): void }
  /** Called after each one that is new. */
  readonly onDamage: () => void
}

/** So many are told apart; a volume with more is lost anyway, and the later ones are told of at each attempt. */
const MAX_KNOWN = 10_000

export class DamagedMail {
  readonly #ports: DamagedMailPorts
  readonly #known = new Set<QueueId>()

  constructor(ports: DamagedMailPorts) {
    this.#ports = ports
  }

  note(queueId: QueueId, damage: CorruptRecord): void {
    if (this.#known.has(queueId)) return
    if (this.#known.size < MAX_KNOWN) this.#known.add(queueId)
    this.#ports.log.error({ queueId, where: damage.where, fault: damage.message }, 'message damaged')
    this.#ports.counter.inc()
    this.#ports.onDamage()
  }

  count(): number {
    return this.#known.size
  }
}
