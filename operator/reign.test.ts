import { expect, test } from 'vitest'
import { runReign, stopMillisOf } from './reign.ts'

/** A lease that writes down its release. */
function start(work: (end: AbortSignal) => Promise<void>, stopMillis = 20) {
  const [stop, lost] = [new AbortController(), new AbortController()]
  const said: string[] = []
  const lease = { lost: lost.signal, release: async () => void said.push('released') }
  const ended = runReign({ lease, work, stop: stop.signal, stopMillis }).then(
    () => void said.push('ended'),
    (error: unknown) => void said.push(String(error)),
  )
  return { stop, lost, said, ended }
}

const untilTold = (end: AbortSignal) => new Promise<void>((resolve) => end.addEventListener('abort', () => resolve(), { once: true }))

test('the lease is released when all work has ended', async () => {
  const { stop, said, ended } = start(untilTold)
  stop.abort()
  await ended
  expect(said).toEqual(['released', 'ended'])
})

test('the lease is never released beside work that does not end when told to', async () => {
  const { stop, said, ended } = start(() => new Promise<void>(() => undefined))
  stop.abort()
  await ended
  expect(said).toEqual(['WorkLeft: work may go on that nobody answers for: reconciles must end within 20 ms of being told, and did not'])
})

test('nor when a part of the work failed, for the other parts may go on', async () => {
  const { said, ended } = start(() => Promise.reject(new TypeError('a defect')))
  await ended
  expect(said).toEqual(['WorkLeft: work may go on that nobody answers for: a defect'])
})

test('work has ended, and the process too, before the lease runs out', () => {
  expect([
    stopMillisOf({ durationMillis: 15_000, renewDeadlineMillis: 10_000 }),
    stopMillisOf({ durationMillis: 4000, renewDeadlineMillis: 3000 }),
  ]).toEqual([4000, 800])
})
