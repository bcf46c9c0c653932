import { setTimeout as wait } from 'node:timers/promises'
import type { Client } from '#kube/client.ts'
import { isKubeError } from '#kube/errors.ts'
import { ENDPOINT_SLICES, type ObjectKey } from '#kube/resources.ts'
import type { Millis } from '../timers.ts'
import { planSlice } from './endpoint-slice.ts'
import type { Endpoint } from './messages.ts'

/**
 * Announces the primary for as long as it leads. To announce is to act (README.md, section 1), so it is done only while there is a right.
 * It looks again now and then, because others can change the slice: the operator that makes a new one, a person.
 */

export type AnnouncerPorts = {
  readonly client: Pick<Client, 'get' | 'update'>
  readonly key: ObjectKey
  readonly deadlineMillis: Millis
  readonly endpoint: () => Endpoint
  readonly mayAct: () => boolean
  /** Somebody has announced himself for a higher epoch. */
  readonly onSuperseded: (epoch: number) => void
  readonly onAnnounced: () => void
  /** It is tried again. */
  readonly onFault: (because: string) => void
}

const LOOK_EVERY_MILLIS = 10_000
const RETRY_MILLIS = 1_000
/** For a right that is not there yet. */
const POLL_MILLIS = 50

/** Until the signal aborts. */
export async function runAnnouncer(ports: AnnouncerPorts, epoch: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const millis = ports.mayAct() ? await announce(ports, epoch, signal) : POLL_MILLIS
    await wait(millis, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

/** How long to wait until the next look. */
async function announce(ports: AnnouncerPorts, epoch: number, signal: AbortSignal): Promise<Millis> {
  const { client, key, deadlineMillis } = ports
  try {
    const plan = planSlice(await client.get(ENDPOINT_SLICES, key, { signal, deadlineMillis }), epoch, ports.endpoint())
    switch (plan.kind) {
      case 'announced':
        return LOOK_EVERY_MILLIS
      case 'superseded':
        ports.onSuperseded(plan.epoch)
        return RETRY_MILLIS
      case 'impossible':
        ports.onFault(plan.because)
        return LOOK_EVERY_MILLIS
      case 'write':
        if (!ports.mayAct()) return POLL_MILLIS
        await client.update(ENDPOINT_SLICES, plan.slice, { signal, deadlineMillis })
        ports.onAnnounced()
        return LOOK_EVERY_MILLIS
    }
  } catch (error) {
    if (signal.aborted) return 0
    if (!isKubeError(error)) throw error
    ports.onFault(error.message)
    return RETRY_MILLIS
  }
}
