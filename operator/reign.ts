import type { HeldLease } from '#kube/lease.ts'

/**
 * One reign: work for as long as the lease is held. The lease is released only when all work has ended; work that fails or does not end in time may still be
 * writing, and then the only safe end is that of the process, with the lease left to run out.
 */

export type Reign = {
  readonly lease: Pick<HeldLease, 'lost' | 'release'>
  /** Resolves when everything it began has ended; a rejection says nothing about the rest of it. */
  readonly work: (end: AbortSignal) => Promise<void>
  readonly stop: AbortSignal
  readonly stopMillis: number
}

/** Why a reign cannot be followed by another one of this process. */
export class WorkLeft extends Error {
  override readonly name = 'WorkLeft'
}

/** Resolves when the work has ended, with the lease released or lost; rejects with WorkLeft, the lease not released. */
export async function runReign({ lease, work, stop, stopMillis }: Reign): Promise<void> {
  const end = AbortSignal.any([stop, lease.lost])
  try {
    await endWithin(work(end), end, stopMillis)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new WorkLeft(`work may go on that nobody answers for: ${why}`, { cause })
  }
  await lease.release()
}

/**
 * How long work may take to stop once told to. Told at the renew deadline, it must have ended before the lease runs out; the last fifth of what lies between
 * is for the end of the process.
 */
export const stopMillisOf = (lease: { readonly durationMillis: number; readonly renewDeadlineMillis: number }): number =>
  Math.floor((lease.durationMillis - lease.renewDeadlineMillis) * 0.8)

async function endWithin(work: Promise<void>, end: AbortSignal, millis: number): Promise<void> {
  const late = Promise.withResolvers<never>()
  const arm = () => setTimeout(() => late.reject(new Error(`reconciles must end within ${millis} ms of being told, and did not`)), millis)
  const timers: NodeJS.Timeout[] = []
  const onEnd = () => timers.push(arm())
  end.addEventListener('abort', onEnd, { once: true })
  if (end.aborted) onEnd()
  try {
    await Promise.race([work, late.promise])
  } finally {
    end.removeEventListener('abort', onEnd)
    for (const timer of timers) clearTimeout(timer)
  }
}
