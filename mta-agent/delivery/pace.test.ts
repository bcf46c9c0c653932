import { expect, test } from 'vitest'
import { isEmpty, message, settings, startDelivery } from '#test/builders/delivery.ts'
import { PROVIDERS } from '#test/internet/catalogue.ts'
import type { BehaviourInput } from '#test/internet/behaviour.ts'
import { openProvider } from '#test/internet/provider.ts'

/** How long mail waits for a provider that has had enough of us: what README.md promises, in real time, with steps of tenths of seconds. */

const LADDER = [0.2, 0.4, 0.8]
const LONGEST_STEP_MILLIS = 800
/** A cool-down (no longer than the longest step), then a step of the ladder with its 10 %. */
const PROMISED_MILLIS = LONGEST_STEP_MILLIS + 1.1 * LONGEST_STEP_MILLIS
/** What a busy machine may add. */
const SLACK_MILLIS = 1_000

const behaviourOf = (name: string): BehaviourInput => {
  const plan = PROVIDERS.find((provider) => provider.name === name)
  if (plan === undefined) throw new RangeError(`the catalogue must have a provider ${name}, has not`)
  return { ...plan.behaviour, tls: 'none' }
}

/** The provider of that name, with its window shortened. */
const throttling = (name: string, intervalSeconds: number): BehaviourInput => {
  const behaviour = behaviourOf(name)
  return { ...behaviour, throttle: { ...behaviour.throttle, messages: 10, intervalSeconds } }
}

test.each<[name: string, behaviour: BehaviourInput, intervalMillis: number]>([
  ['throttle', throttling('throttle', 0.5), 500],
  ['throttle421', throttling('throttle421', 0.5), 500],
  ['flaky', behaviourOf('flaky'), 0],
])('mail for the provider %s is never stuck for longer than is promised', { timeout: 20_000 }, async (name, behaviour, intervalMillis) => {
  await using provider = await openProvider({ name, behaviour })
  const addresses = [5, 6].map((last) => ({ address: `127.0.0.${last}`, hostName: `out${last}.example.org` }))
  await using running = startDelivery(settings(provider, { addresses, queue: { retrySeconds: LADDER, maxAgeSeconds: 432_000 } }))
  const begun = Date.now()
  await Promise.all(Array.from({ length: 60 }, (_, at) => running.queue.append(message([`user${at}@example.com`]))))
  await running.queue.settledUntil(isEmpty)

  const times = [begun, ...provider.arrivals().map(({ at }) => Date.parse(at))].toSorted((a, b) => a - b)
  const gaps = times.slice(1).map((time, at) => time - times[at]!)
  expect(times.length - 1).toBe(60)
  expect(Math.max(...gaps)).toBeLessThan(intervalMillis + PROMISED_MILLIS + SLACK_MILLIS)
})
