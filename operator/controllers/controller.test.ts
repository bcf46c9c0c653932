import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { Controller, type LoopReport, type ObjectKey, type Reconcile, type Requeue, retryDelayMillis } from './controller.ts'
import { TokenBucket } from './token-bucket.ts'

/** A clock that stands until it is moved. */
class HandClock {
  #now = 0
  #sleepers: { readonly at: number; readonly wake: () => void }[] = []
  monotonic = () => this.#now
  random = () => 1

  sleep = (millis: number, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      this.#sleepers.push({ at: this.#now + millis, wake: resolve })
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })

  async move(millis: number): Promise<void> {
    this.#now += millis
    for (const { at, wake } of this.#sleepers) if (at <= this.#now) wake()
    await turn()
  }
}

const key = (name: string): ObjectKey => ({ namespace: 'mail', name })
const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

function start(
  reconcile: Reconcile,
  options: { readonly concurrency?: number; readonly reconcileMillis?: number; readonly burst?: number } = {},
) {
  const clock = new HandClock()
  const reports: LoopReport[] = []
  const control = new AbortController()
  const controller = new Controller({
    name: 'Test',
    reconcile,
    clock,
    bucket: new TokenBucket({ burst: options.burst ?? 100, perSecond: 1 }),
    onReport: (report) => reports.push(report),
    ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
    timing: { reconcileMillis: options.reconcileMillis ?? 60_000, firstRetryMillis: 1000, maxRetryMillis: 4000 },
  })
  const ended = controller.run(control.signal)
  const stop = async () => {
    control.abort(new Error('stopping'))
    await ended
  }
  stops.push(stop)
  return { clock, controller, reports, stop }
}

/** A reconcile that ends when the test says so. */
function openReconcile() {
  const calls: { readonly name: string; readonly end: (requeue: Requeue) => void; readonly signal: AbortSignal }[] = []
  const reconcile: Reconcile = ({ name }, signal) =>
    new Promise((end, fail) => {
      calls.push({ name, end, signal })
      signal.addEventListener('abort', () => fail(signal.reason), { once: true })
    })
  return { calls, reconcile, names: () => calls.map(({ name }) => name) }
}

test('a key is never reconciled twice at a time, and is once more when it was woken meanwhile', async () => {
  const { calls, reconcile, names } = openReconcile()
  const { controller } = start(reconcile)
  for (const name of ['a', 'a', 'b']) controller.wake(key(name))
  await turn()
  controller.wake(key('a'))
  await turn()
  expect(names()).toEqual(['a', 'b'])
  calls[0]!.end('never')
  await turn()
  expect(names()).toEqual(['a', 'b', 'a'])
})

test('no more run at a time than allowed', async () => {
  const { calls, reconcile, names } = openReconcile()
  const { controller } = start(reconcile, { concurrency: 2 })
  for (const name of ['a', 'b', 'c']) controller.wake(key(name))
  await turn()
  expect([names(), controller.depth]).toEqual([['a', 'b'], 1])
  calls[1]!.end('never')
  await turn()
  expect([names(), controller.depth]).toEqual([['a', 'b', 'c'], 0])
})

test('a requeue comes back after its time', async () => {
  const { calls, reconcile, names } = openReconcile()
  const { clock, controller } = start(reconcile)
  controller.wake(key('a'))
  await turn()
  calls[0]!.end({ after: 500 })
  await turn()
  await clock.move(499)
  expect(names()).toEqual(['a'])
  await clock.move(1)
  expect(names()).toEqual(['a', 'a'])
})

test('a failure is reported and comes again later and later, until it succeeds', async () => {
  let broken = true
  const { clock, controller, reports } = start(async () => {
    if (broken) throw new Error('not yet')
    return 'never'
  })
  controller.wake(key('a'))
  for (const millis of [0, 1000, 2000, 4000]) await clock.move(millis)
  broken = false
  await clock.move(4000)
  broken = true
  controller.wake(key('a'))
  await turn()
  expect(reports.map((report) => (report.kind === 'failed' ? report.retryMillis : 'done'))).toEqual([1000, 2000, 4000, 4000, 'done', 1000])
})

test('all controllers together are held to the bucket', async () => {
  const { reconcile, names } = openReconcile()
  const { clock, controller } = start(reconcile, { burst: 1 })
  for (const name of ['a', 'b']) controller.wake(key(name))
  await turn()
  expect(names()).toEqual(['a'])
  await clock.move(1000)
  expect(names()).toEqual(['a', 'b'])
})

test('stopping aborts what runs, waits for its end and reports no failure', async () => {
  const { calls, reconcile } = openReconcile()
  const { controller, reports, stop } = start(reconcile)
  controller.wake(key('a'))
  await turn()
  await stop()
  expect([calls[0]!.signal.aborted, reports]).toEqual([true, []])
})

test('a reconcile that takes too long is aborted and tried again', async () => {
  const { reconcile } = openReconcile()
  const { controller, reports } = start(reconcile, { reconcileMillis: 5 })
  controller.wake(key('a'))
  while (reports.length === 0) await turn()
  expect(reports[0]).toMatchObject({ kind: 'failed', error: new Error('not done within 5 ms'), retryMillis: 1000 })
})

test('how long the oldest has been running is known', async () => {
  const { reconcile } = openReconcile()
  const { clock, controller } = start(reconcile)
  controller.wake(key('a'))
  await turn()
  await clock.move(7000)
  expect(controller.oldestRunningMillis).toBe(7000)
})

test('half of a retry delay is chance', () => {
  const timing = { reconcileMillis: 1, firstRetryMillis: 1000, maxRetryMillis: 4000 }
  expect([0, 1].flatMap((random) => [1, 2, 99].map((failures) => retryDelayMillis(timing, failures, random)))).toEqual([
    500, 1000, 2000, 1000, 2000, 4000,
  ])
})
