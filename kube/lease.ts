import { setTimeout as startTimer } from 'node:timers'
import type { Client } from './client.ts'
import type { Clock } from './clock.ts'
import { isKubeError } from './errors.ts'
import { type Lease, LEASES, type ObjectKey } from './resources.ts'

/**
 * Leader election over a Lease. Who holds it leads; a candidate takes over when it has itself seen no sign of the holder for a whole lease duration,
 * measured on its own monotonic clock: the times in the record are compared for change only, so clocks that disagree do no harm. Every write is conditional.
 *
 *   following ──free, released or silent for leaseDuration: write──▶ leading ──renewed every retry──▶ leading
 *                                                                       │ another holder, or no renewal for renewDeadline
 *                                                                       ▼
 *                                                                      lost (final: a new identity must be made)
 *
 * A holder stops before anyone may take over: renewDeadline < leaseDuration, counted from the start of the last request that succeeded.
 */

export type LeaseTimes = {
  readonly leaseDurationMillis: number
  readonly renewDeadlineMillis: number
  readonly retryMillis: number
  /** For each call. */
  readonly callMillis: number
}

export const DEFAULT_LEASE_TIMES: LeaseTimes = {
  leaseDurationMillis: 15_000,
  renewDeadlineMillis: 10_000,
  retryMillis: 2000,
  callMillis: 3000,
}

/** What a candidate knows. `lease` is the record as last seen. */
export type Standing =
  | { readonly kind: 'following'; readonly lease: Lease | undefined; readonly unchangedSince: number }
  | { readonly kind: 'leading'; readonly lease: Lease | undefined; readonly renewedAt: number }

export type LeaseEvent =
  | { readonly kind: 'read'; readonly lease: Lease | undefined; readonly at: number }
  | { readonly kind: 'written'; readonly lease: Lease; readonly startedAt: number }
  /** The record is not what we thought it was. */
  | { readonly kind: 'refused'; readonly at: number }
  /** The call failed; it may have had its effect. */
  | { readonly kind: 'failed'; readonly at: number }
  | { readonly kind: 'waited'; readonly at: number }

export type Todo =
  | { readonly kind: 'read' }
  /** Make the record ours, or renew it; creates it when `lease` is undefined. */
  | { readonly kind: 'write'; readonly lease: Lease | undefined }
  | { readonly kind: 'wait' }
  | { readonly kind: 'lost'; readonly because: LostReason }

export type LostReason = 'TakenOver' | 'NotRenewed'
export type Candidate = { readonly identity: string; readonly times: LeaseTimes }
type Step = { readonly standing: Standing; readonly todo: Todo }

export const FIRST_STANDING: Standing = { kind: 'following', lease: undefined, unchangedSince: 0 }

export function step(standing: Standing, event: LeaseEvent, candidate: Candidate): Step {
  if (event.kind === 'written')
    return { standing: { kind: 'leading', lease: event.lease, renewedAt: event.startedAt }, todo: { kind: 'wait' } }
  return standing.kind === 'leading' ? stepLeading(standing, event, candidate) : stepFollowing(standing, event, candidate)
}

type Unwritten = Exclude<LeaseEvent, { kind: 'written' }>

function stepLeading(standing: Standing & { kind: 'leading' }, event: Unwritten, candidate: Candidate): Step {
  if (event.kind === 'read' && event.lease !== undefined && event.lease.spec?.holderIdentity !== candidate.identity) {
    return { standing, todo: { kind: 'lost', because: 'TakenOver' } }
  }
  if (event.at - standing.renewedAt >= candidate.times.renewDeadlineMillis)
    return { standing, todo: { kind: 'lost', because: 'NotRenewed' } }
  switch (event.kind) {
    case 'read':
      return { standing: { ...standing, lease: event.lease }, todo: { kind: 'write', lease: event.lease } }
    case 'waited':
      return { standing, todo: { kind: 'write', lease: standing.lease } }
    case 'refused':
      return { standing, todo: { kind: 'read' } }
    case 'failed':
      return { standing, todo: { kind: 'wait' } }
  }
}

function stepFollowing(standing: Standing & { kind: 'following' }, event: Unwritten, candidate: Candidate): Step {
  if (event.kind === 'failed') return { standing, todo: { kind: 'wait' } }
  if (event.kind !== 'read') return { standing, todo: { kind: 'read' } }
  const { lease, at } = event
  const changed =
    lease?.metadata.resourceVersion !== standing.lease?.metadata.resourceVersion || lease?.metadata.uid !== standing.lease?.metadata.uid
  const now: Standing = { kind: 'following', lease, unchangedSince: changed ? at : standing.unchangedSince }
  return { standing: now, todo: mayTake(now, at, candidate) ? { kind: 'write', lease } : { kind: 'wait' } }
}

function mayTake({ lease, unchangedSince }: Standing & { kind: 'following' }, at: number, { identity, times }: Candidate): boolean {
  const holder = lease?.spec?.holderIdentity ?? ''
  if (holder === '' || holder === identity) return true
  const seconds = lease?.spec?.leaseDurationSeconds
  const duration = seconds === undefined ? times.leaseDurationMillis : seconds * 1000
  return at - unchangedSince >= duration
}

/** The record that makes `identity` the holder from `wall` on. */
export function buildLease(key: ObjectKey, before: Lease | undefined, { identity, times }: Candidate, wall: number): Lease {
  const held = before?.spec?.holderIdentity === identity
  const now = formatMicroTime(wall)
  return {
    metadata: before?.metadata ?? key,
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(times.leaseDurationMillis / 1000),
      acquireTime: (held ? before.spec?.acquireTime : undefined) ?? now,
      renewTime: now,
      leaseTransitions: (before?.spec?.leaseTransitions ?? -1) + (held ? 0 : 1),
    },
  }
}

/** metav1.MicroTime. */
export const formatMicroTime = (wall: number): string => new Date(wall).toISOString().replace('Z', '000Z')

export type Election = {
  readonly client: Pick<Client, 'find' | 'create' | 'update'>
  readonly key: ObjectKey
  /** Must be new for each process, not only for each Pod name: the same name can run twice. */
  readonly identity: string
  readonly times: LeaseTimes
  readonly clock: Clock
  /** For logs; must not throw. */
  readonly onReport?: (
    report: { readonly kind: 'following'; readonly holder: string } | { readonly kind: 'failed'; readonly error: unknown },
  ) => void
}

/** Disposing ends the renewals and no more: others follow after the lease duration, as if we had crashed. */
export type HeldLease = AsyncDisposable & {
  /** Aborts when the lease is no longer ours: stop at once. */
  readonly lost: AbortSignal
  /** Gives the lease up, so that another takes it at once: only after all work has stopped. Nothing to do when it is lost. */
  release(): Promise<void>
}

export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
  readonly because: LostReason
  constructor(because: LostReason) {
    super(because === 'TakenOver' ? 'another process holds the lease' : 'the lease could not be renewed in time')
    this.because = because
  }
}

/** Waits until the lease is ours, then keeps it renewed until released, disposed or lost. */
export async function acquireLease(election: Election, signal: AbortSignal): Promise<HeldLease> {
  requireOrder(election.times)
  const keeper = new LeaseKeeper(election)
  while (!(await keeper.advance(signal))) signal.throwIfAborted()
  return keeper.keep()
}

function requireOrder({ callMillis, retryMillis, renewDeadlineMillis, leaseDurationMillis }: LeaseTimes): void {
  const ordered =
    callMillis > 0 && retryMillis > 0 && callMillis + retryMillis < renewDeadlineMillis && renewDeadlineMillis < leaseDurationMillis
  if (ordered) return
  throw new RangeError(
    `lease times must satisfy call + retry < renew deadline < lease duration, but are ${callMillis} + ${retryMillis}, ${renewDeadlineMillis}, ${leaseDurationMillis} ms`,
  )
}

class LeaseKeeper {
  readonly #election: Election
  #standing: Standing = FIRST_STANDING
  #todo: Todo = { kind: 'read' }
  #reportedHolder: string | undefined

  constructor(election: Election) {
    this.#election = election
  }

  /** One thing to do. True when we lead. */
  async advance(signal: AbortSignal): Promise<boolean> {
    const event = await this.#perform(this.#todo, signal)
    const next = step(this.#standing, event, this.#election)
    this.#standing = next.standing
    this.#todo = next.todo
    this.#reportHolder()
    return next.standing.kind === 'leading'
  }

  keep(): HeldLease {
    const lost = new AbortController()
    const stop = new AbortController()
    const renewing = this.#renewUntil(stop.signal, lost)
    const end = async () => {
      stop.abort()
      await renewing
    }
    return {
      lost: lost.signal,
      release: async () => {
        await end()
        if (!lost.signal.aborted) await this.#release()
      },
      [Symbol.asyncDispose]: end,
    }
  }

  /**
   * The watchdog stands apart from the calls: however a call hangs, `lost` fires at the deadline. It is set anew from each renewal.
   */
  async #renewUntil(stop: AbortSignal, lost: AbortController): Promise<void> {
    const ended = AbortSignal.any([stop, lost.signal])
    while (!ended.aborted) {
      const watchdog = startTimer(() => lost.abort(new LeaseLost('NotRenewed')), this.#remaining())
      try {
        await this.advance(ended)
        if (this.#todo.kind === 'lost') lost.abort(new LeaseLost(this.#todo.because))
      } catch (error) {
        if (!ended.aborted) lost.abort(error)
      } finally {
        clearTimeout(watchdog)
      }
    }
  }

  #remaining(): number {
    const { clock, times } = this.#election
    return this.#standing.kind === 'leading' ? Math.max(0, this.#standing.renewedAt + times.renewDeadlineMillis - clock.monotonic()) : 0
  }

  async #perform(todo: Todo, signal: AbortSignal): Promise<LeaseEvent> {
    const { client, key, clock, times } = this.#election
    const startedAt = clock.monotonic()
    const call = { signal, deadlineMillis: times.callMillis }
    try {
      switch (todo.kind) {
        case 'read':
          return { kind: 'read', lease: await client.find(LEASES, key, call), at: clock.monotonic() }
        case 'write':
          return { kind: 'written', lease: await this.#write(todo.lease, call), startedAt }
        case 'wait':
        case 'lost':
          await clock.sleep(times.retryMillis * (0.9 + clock.random() * 0.2), signal)
          return { kind: 'waited', at: clock.monotonic() }
      }
    } catch (error) {
      if (!isKubeError(error)) throw error
      if (isKubeError(error, 'conflict', 'alreadyExists', 'notFound') && todo.kind === 'write')
        return { kind: 'refused', at: clock.monotonic() }
      this.#election.onReport?.({ kind: 'failed', error })
      return { kind: 'failed', at: clock.monotonic() }
    }
  }

  #write(before: Lease | undefined, call: { readonly signal: AbortSignal; readonly deadlineMillis: number }): Promise<Lease> {
    const { client, key, clock } = this.#election
    const lease = buildLease(key, before, this.#election, clock.wall())
    return before === undefined ? client.create(LEASES, lease, call) : client.update(LEASES, lease, call)
  }

  /**
   * A released record names no holder. A renewal that was under way when we stopped may have changed the record: then it is read once more. If it cannot be
   * released, others take over after the lease duration as if we had crashed.
   */
  async #release(): Promise<void> {
    const { client, key, identity, clock, times } = this.#election
    const call = { signal: new AbortController().signal, deadlineMillis: times.callMillis }
    try {
      const lease = await client.find(LEASES, key, call)
      if (lease?.spec?.holderIdentity !== identity) return
      const renewTime = formatMicroTime(clock.wall())
      await client.update(LEASES, { ...lease, spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime } }, call)
    } catch (error) {
      if (!isKubeError(error)) throw error
      this.#election.onReport?.({ kind: 'failed', error })
    }
  }

  #reportHolder(): void {
    const holder = this.#standing.lease?.spec?.holderIdentity ?? ''
    if (this.#standing.kind !== 'following' || holder === this.#reportedHolder) return
    this.#reportedHolder = holder
    this.#election.onReport?.({ kind: 'following', holder })
  }
}
