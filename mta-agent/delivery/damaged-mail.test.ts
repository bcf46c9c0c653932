import { expect, test } from 'vitest'
import { message, settings } from '#test/builders/delivery.ts'
import { openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { openProvider, type Provider } from '#test/internet/provider.ts'
import type { NewMessage } from '../queue/queue-store.ts'
import { openTables } from '../queue/lmdb-queue-store.ts'
import { queueIdKey } from '../queue/keys.ts'
import type { Table } from '../queue/tables.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { openScheduler } from './scheduler.ts'
import type { DeliverySettings } from './ports.ts'

/** A disk that did not keep what it was given: one message is concerned, all others flow, and nothing damaged is ever sent. */

const LONG = { timeout: 30_000 }
const TO = ['first@example.com', 'second@example.com', 'third@example.com']

/** Stores the messages, flips the last bit of the second one's record in that table, and opens the queue again. */
async function openDamaged(directory: string, table: Table, messages: readonly NewMessage[]) {
  const ids: QueueId[] = []
  {
    await using queue = await openQueue(directory)
    for (const one of messages) ids.push(await queue.append(one))
  }
  {
    await using tables = openTables(directory)
    const key = queueIdKey(ids[1]!)
    const value = Buffer.from(tables.get(table, key)!)
    value[value.length - 1]! ^= 1
    await tables.commit([{ table, key, value }])
  }
  return { ids, store: await openQueue(directory) }
}

function start(store: Awaited<ReturnType<typeof openQueue>>, provider: Provider, rest: Partial<DeliverySettings> = {}) {
  const damaged: string[] = []
  let offset = 0
  const log = () => undefined
  const scheduler = openScheduler({
    store,
    settings: () => settings(provider, rest),
    log: { info: log, warn: log, error: log },
    clock: () => Date.now() + offset,
    random: () => 0.5,
    signal: new AbortController().signal,
    onDamage: (queueId, { where }) => void damaged.push(`${queueId}: ${where}`),
    onBroken: (cause) => {
      throw cause
    },
  })
  const advance = (millis: number) => {
    offset += millis
    scheduler.reconfigure()
  }
  return { scheduler, damaged, advance, [Symbol.asyncDispose]: () => scheduler.stop(0) }
}

const arrivalsOf = (provider: Provider): string[] =>
  provider
    .arrivals()
    .map(({ sender, recipients }) => `${sender} > ${recipients.map(({ address }) => address).join(' ')}`)
    .toSorted()

test('a message whose content is damaged goes back to its sender, without that content; the others arrive', async () => {
  using directory = temporaryDirectory()
  await using provider = await openProvider({ name: 'plain', keep: 'content' })
  const { ids, store } = await openDamaged(
    directory.path,
    'bodies',
    TO.map((to) => message([to])),
  )
  await using _store = store
  await using running = start(store, provider)
  await expect.poll(() => store.totals().messages, LONG).toBe(0)
  expect(running.damaged).toEqual([`${ids[1]}: bodies ${ids[1]}`, `${ids[1]}: bodies ${ids[1]}`])
  expect(arrivalsOf(provider)).toEqual([
    ' > sender@example.org',
    'sender@example.org > first@example.com',
    'sender@example.org > third@example.com',
  ])
  const report = provider.contentOf(provider.arrivals().find(({ sender }) => sender === '')!)!.toString()
  expect(report).toContain('Final-Recipient: rfc822; second@example.com\r\nAction: failed\r\nStatus: 5.3.0\r\n')
  expect(report.match(/^Content-Type: .+$/gm)?.map((line) => line.trim())).toEqual([
    'Content-Type: multipart/report; report-type=delivery-status;',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Type: message/delivery-status',
  ])
})

test('damaged mail that is too old to be attempted goes back as well', async () => {
  using directory = temporaryDirectory()
  await using provider = await openProvider({ name: 'down', behaviour: { listening: 'refused' } })
  const { store } = await openDamaged(
    directory.path,
    'bodies',
    TO.map((to) => message([to], { sender: to === TO[1] ? 'sender@example.org' : '' })),
  )
  await using _store = store
  await using running = start(store, provider, {
    queue: { retrySeconds: [3600], maxAgeSeconds: 600 },
    delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 1 },
  })
  await expect.poll(() => store.totals().deferred, LONG).toBe(3)
  running.advance(59_000)
  running.advance(700_000)
  await expect.poll(() => ({ ...store.totals(), inFlight: running.scheduler.inFlight() }), LONG).toMatchObject({ messages: 1, inFlight: 0 })
  expect(store.readMessage(store.takeDue(Number.MAX_SAFE_INTEGER / 100, 1)[0]!.queueId)?.envelope).toMatchObject({
    sender: '',
    recipients: [{ address: 'sender@example.org' }],
  })
})

test('a message whose envelope is damaged waits for a person until its age is over; the others arrive', async () => {
  using directory = temporaryDirectory()
  await using provider = await openProvider({ name: 'plain' })
  const { ids, store } = await openDamaged(
    directory.path,
    'messages',
    TO.map((to) => message([to])),
  )
  await using _store = store
  await using running = start(store, provider, { queue: { retrySeconds: [300], maxAgeSeconds: 400 } })
  await expect.poll(() => store.totals(), LONG).toMatchObject({ messages: 1, deferred: 1 })
  running.advance(301_000)
  await expect.poll(() => running.damaged.length, LONG).toBe(2)
  running.advance(400_000)
  await expect.poll(() => store.totals().messages, LONG).toBe(0)
  expect(running.damaged).toEqual(Array.from({ length: 3 }, () => `${ids[1]}: messages ${ids[1]}`))
  expect(arrivalsOf(provider)).toEqual(['sender@example.org > first@example.com', 'sender@example.org > third@example.com'])
})
