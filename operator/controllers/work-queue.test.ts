import fc from 'fast-check'
import { expect, test } from 'vitest'
import { WorkQueue } from './work-queue.ts'

function takeAll(queue: WorkQueue, now: number): string[] {
  const keys: string[] = []
  for (let key = queue.take(now); key !== undefined; key = queue.take(now)) keys.push(key)
  return keys
}

test('a key woken many times is taken once, in the order of the first wake', () => {
  const queue = new WorkQueue()
  for (const key of ['b', 'a', 'b', 'a']) queue.add(key)
  expect(takeAll(queue, 0)).toEqual(['b', 'a'])
})

test('a key woken while it is worked on comes again when it is done, and only then', () => {
  const queue = new WorkQueue()
  queue.add('a')
  queue.take(0)
  queue.add('a')
  expect(queue.take(0)).toBeUndefined()
  queue.done('a')
  expect([queue.take(0), queue.take(0)]).toEqual(['a', undefined])
})

test('what waits can be forgotten, but not what is being worked on', () => {
  const queue = new WorkQueue()
  for (const key of ['a', 'b']) queue.add(key)
  queue.addAt('c', 5)
  queue.take(0)
  queue.add('a')
  queue.clear()
  expect([queue.depth, queue.nextAt, takeAll(queue, 10)]).toEqual([0, Infinity, []])
  queue.add('a')
  expect(takeAll(queue, 10)).toEqual([])
  queue.done('a')
  expect(takeAll(queue, 10)).toEqual(['a'])
})

test('a key waits for its time; the earlier time counts, and being woken counts most', () => {
  const queue = new WorkQueue()
  queue.addAt('a', 100)
  queue.addAt('a', 50)
  queue.addAt('a', 200)
  queue.addAt('b', 80)
  queue.add('b')
  expect([queue.nextAt, takeAll(queue, 49), takeAll(queue, 50), takeAll(queue, 1000), queue.nextAt]).toEqual([
    50,
    ['b'],
    ['a'],
    [],
    Infinity,
  ])
})

test('what is ready now is not put off', () => {
  const queue = new WorkQueue()
  queue.add('a')
  queue.addAt('a', 100)
  expect([takeAll(queue, 0), queue.nextAt]).toEqual([['a'], Infinity])
})

test('law: keys come out at the time each was due, in that order', () => {
  const entries = fc.array(fc.record({ key: fc.integer({ min: 0, max: 50 }).map(String), at: fc.nat(1000) }), { maxLength: 300 })
  fc.assert(
    fc.property(entries, (all) => {
      const queue = new WorkQueue()
      const due = new Map<string, number>()
      for (const { key, at } of all) {
        queue.addAt(key, at)
        due.set(key, Math.min(at, due.get(key) ?? Infinity))
      }
      const got = Array.from({ length: 1001 }, (_, now) => takeAll(queue, now).map((key) => [key, now] as const)).flat()
      expect(new Map(got)).toEqual(due)
      expect(got.length).toBe(due.size)
    }),
  )
})
