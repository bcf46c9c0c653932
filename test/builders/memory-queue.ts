import type { Domain } from '#agent/domain/envelope.ts'
import { formatQueueId, type QueueId } from '#agent/domain/queue-id.ts'
import type { Delivery, DestinationRoom, Millis, NewMessage, QueueStore } from '#agent/queue/queue-store.ts'

/** The queue's port in plain maps: for tests of what is built on it. It keeps every promise of the port but the disk's. */

type Kept = { readonly message: NewMessage; readonly queueId: QueueId; readonly done: Set<number> }
type Row = {
  readonly kept: Kept
  readonly destination: Domain
  readonly indexes: readonly number[]
  attempts: number
  dueAt: Millis
  taken: boolean
}

export type MemoryQueue = QueueStore & {
  /** Every settle, in order. */
  readonly settled: readonly Parameters<QueueStore['settle']>[0][]
  readonly reports: readonly NewMessage[]
  /** Resolves when nothing is queued any more, or when `until` says so after a settle. */
  settledUntil(until: (queue: MemoryQueue) => boolean): Promise<void>
}

const everyRoom: DestinationRoom = () => Infinity

export function openMemoryQueue(): MemoryQueue {
  const kept = new Map<QueueId, Kept>()
  const settled: Parameters<QueueStore['settle']>[0][] = []
  const reports: NewMessage[] = []
  const waiting = new Set<() => void>()
  let rows: Row[] = []
  let sequence = 0
  let listener = (): void => undefined

  const left = (row: Row): number[] => row.indexes.filter((index) => !row.kept.done.has(index))
  const take = (row: Row): Delivery => {
    row.taken = true
    const { message, queueId } = row.kept
    return {
      queueId,
      destination: row.destination,
      recipients: left(row).map((index) => ({ ...message.envelope.recipients[index]!, index })),
      attempts: row.attempts,
      dueAt: row.dueAt,
      acceptedAt: message.acceptedAt,
      sizeBytes: message.content.length,
    }
  }
  const find = (queueId: QueueId, destination: Domain): Row => {
    const row = rows.find((candidate) => candidate.kept.queueId === queueId && candidate.destination === destination)
    if (row?.taken !== true) throw new Error(`${queueId} to ${destination} must be taken, was not`)
    return row
  }
  const store = (message: NewMessage): QueueId => {
    const queueId = formatQueueId({ epoch: 1, sequence: (sequence += 1) })
    const one: Kept = { message, queueId, done: new Set() }
    kept.set(queueId, one)
    const byDomain = Map.groupBy([...message.envelope.recipients.entries()], ([, { domain }]) => domain)
    for (const [destination, entries] of byDomain) {
      rows.push({ kept: one, destination, indexes: entries.map(([index]) => index), attempts: 0, dueAt: message.acceptedAt, taken: false })
    }
    queueMicrotask(() => listener())
    return queueId
  }
  const queue: MemoryQueue = {
    settled,
    reports,
    append: (message) => Promise.resolve(store(message)),
    takeDue(now, limit, room = everyRoom) {
      const taken: Delivery[] = []
      const counts = new Map<Domain, number>()
      for (const row of rows.toSorted((a, b) => a.dueAt - b.dueAt)) {
        if (row.taken || row.dueAt > now || taken.length >= limit) continue
        const count = counts.get(row.destination) ?? 0
        if (count >= room(row.destination)) continue
        counts.set(row.destination, count + 1)
        taken.push(take(row))
      }
      return taken
    },
    nextDueAt(room = everyRoom) {
      const times = rows.filter((row) => !row.taken && room(row.destination) > 0).map(({ dueAt }) => dueAt)
      return times.length === 0 ? undefined : Math.min(...times)
    },
    takeExpired: (acceptedBefore, limit) =>
      rows
        .filter((row) => !row.taken && row.kept.message.acceptedAt < acceptedBefore)
        .slice(0, limit)
        .map(take),
    onDue(listen) {
      listener = listen
    },
    release(deliveries) {
      for (const { queueId, destination } of deliveries) find(queueId, destination).taken = false
      queueMicrotask(() => listener())
    },
    async settle(result, report) {
      await Promise.resolve()
      const row = find(result.queueId, result.destination)
      for (const { index, outcome } of result.outcomes) if (outcome.kind !== 'deferred') row.kept.done.add(index)
      const isDeferred = result.outcomes.some(({ outcome }) => outcome.kind === 'deferred')
      if (isDeferred && result.nextAttemptAt === undefined) throw new RangeError('a deferral must have a nextAttemptAt, had none')
      row.taken = false
      row.attempts += 1
      row.dueAt = result.nextAttemptAt ?? row.dueAt
      if (left(row).length === 0) rows = rows.filter((other) => other !== row)
      if (!rows.some((other) => other.kept === row.kept)) kept.delete(result.queueId)
      settled.push(result)
      if (report !== undefined) {
        reports.push(report)
        store(report)
      }
      for (const look of waiting) look()
    },
    stopWaiting: () => undefined,
    readMessage(queueId) {
      const message = kept.get(queueId)?.message
      return message && { queueId, envelope: message.envelope, acceptedAt: message.acceptedAt, sizeBytes: message.content.length }
    },
    readContent: (queueId) => kept.get(queueId)?.message.content,
    totals() {
      const times = [...kept.values()].map(({ message }) => message.acceptedAt)
      return {
        messages: kept.size,
        recipients: rows.reduce((sum, row) => sum + left(row).length, 0),
        deferred: rows.filter(({ attempts }) => attempts > 0).reduce((sum, row) => sum + left(row).length, 0),
        contentBytes: [...kept.values()].reduce((sum, { message }) => sum + message.content.length, 0),
        ...(times.length === 0 ? {} : { oldestAcceptedAt: Math.min(...times) }),
      }
    },
    room: () => 'room',
    async settledUntil(until) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const look = (): void => void (until(queue) && resolve())
      waiting.add(look)
      look()
      await promise
      waiting.delete(look)
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
  return queue
}
