import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Domain } from '../domain/envelope.ts'
import { formatQueueId } from '../domain/queue-id.ts'
import { SourceAddresses } from './source-addresses.ts'

const NOW = 1_000_000
const source = (last: number) => ({ address: `192.0.2.${last}`, hostName: `out${last}.example.org` })
const ALL = Array.from({ length: 254 }, (_, last) => source(last + 1))
const delivery = (sequence: number, domain = 'example.com') => ({
  queueId: formatQueueId({ epoch: 1, sequence }),
  destination: domain as Domain,
})
const first = (sources: SourceAddresses, lasts: readonly number[], sequence: number, now = NOW) =>
  sources.order(delivery(sequence), lasts.map(source), now)[0]?.address

const lastNumbers = fc.uniqueArray(fc.integer({ min: 1, max: 254 }), { minLength: 2, maxLength: 8 })

test('a delivery has the same address at every attempt, in whatever order they are written', () => {
  fc.assert(
    fc.property(lastNumbers, fc.integer({ min: 1, max: 1e9 }), (lasts, sequence) => {
      const sources = new SourceAddresses(ALL, () => undefined)
      expect(first(sources, lasts.toReversed(), sequence, NOW + 86_400_000)).toBe(first(sources, lasts, sequence))
    }),
  )
})

test('when an address goes, only its own deliveries move; when it comes back, so do they', () => {
  fc.assert(
    fc.property(lastNumbers, fc.integer({ min: 1, max: 1e9 }), (lasts, sequence) => {
      const sources = new SourceAddresses(ALL, () => undefined)
      const before = first(sources, lasts, sequence)
      const gone = source(lasts[0]!).address
      sources.wasRefused(gone, 'EADDRNOTAVAIL', NOW)
      const without = first(sources, lasts, sequence)
      expect(without === before).toBe(before !== gone)
      sources.worked(gone)
      expect(first(sources, lasts, sequence)).toBe(before)
    }),
  )
})

test('deliveries spread evenly over the addresses, also those of one destination', () => {
  const sources = new SourceAddresses(ALL, () => undefined)
  const counts = new Map<string, number>()
  for (let sequence = 1; sequence <= 2000; sequence++) {
    const address = first(sources, [5, 6, 7, 8], sequence)!
    counts.set(address, (counts.get(address) ?? 0) + 1)
  }
  expect([...counts.keys()].toSorted()).toEqual([5, 6, 7, 8].map((last) => source(last).address))
  expect(Math.min(...counts.values())).toBeGreaterThan(430)
})

test('one that is not attached is left out, and its deliveries have it again when it is', () => {
  const attached = new Map<string, number>()
  const sources = new SourceAddresses(
    ALL,
    () => undefined,
    (address) => attached.get(address),
  )
  expect([sources.some(ALL, NOW), sources.order(delivery(1), ALL, NOW)]).toEqual([false, []])
  attached.set(source(7).address, 1)
  expect([sources.some(ALL, NOW), sources.order(delivery(1), ALL, NOW)]).toEqual([true, [source(7)]])
})

test('one that the kernel would not bind to is tried as soon as it is attached anew, and not before', () => {
  let [attachment, changes]: [number | undefined, number] = [1, 0]
  const sources = new SourceAddresses(
    ALL,
    () => void (changes += 1),
    () => attachment,
  )
  const seen: unknown[] = []
  const look = (now?: number) => {
    attachment = now
    sources.keepOnly(ALL)
    seen.push([sources.some(ALL.slice(0, 1), NOW), sources.unavailable().length, changes])
  }
  sources.wasRefused(ALL[0]!.address, 'EADDRNOTAVAIL', NOW)
  look(1)
  look(undefined)
  look(2)
  expect(seen).toEqual([
    [false, 1, 1],
    [false, 1, 1],
    [true, 0, 2],
  ])
})

test('what an attempt hears late of an address that was taken away is not kept', () => {
  let changes = 0
  const sources = new SourceAddresses([source(5)], () => void (changes += 1))
  sources.keepOnly([source(6)])
  sources.wasRefused(source(5).address, 'EADDRNOTAVAIL', NOW)
  expect([sources.unavailable(), sources.nextTrial(NOW), changes]).toEqual([[], undefined, 0])
  sources.keepOnly([source(5), source(6)])
  sources.wasRefused(source(5).address, 'EADDRNOTAVAIL', NOW)
  expect(sources.unavailable()).toEqual([{ address: source(5).address, since: NOW, code: 'EADDRNOTAVAIL' }])
})
