import { afterEach, expect, test } from 'vitest'
import { openMemoryQueue, type MemoryQueue } from '#test/builders/memory-queue.ts'
import { openProvider } from '#test/internet/provider.ts'
import type { Domain, Envelope, Recipient } from '../domain/envelope.ts'
import type { NewMessage } from '../queue/queue-store.ts'
import type { DeliverySettings, Scheduler, SchedulerOptions } from './ports.ts'
import { openScheduler } from './scheduler.ts'

let open: AsyncDisposable[] = []
afterEach(async () => {
  for (const resource of open.toReversed()) await resource[Symbol.asyncDispose]()
  open = []
})
const using = <T extends AsyncDisposable>(resource: T): T => {
  open.push(resource)
  return resource
}

const recipient = (address: string, rest: Partial<Recipient> = {}): Recipient => ({
  address,
  domain: address.slice(address.indexOf('@') + 1) as Domain,
  ...rest,
})

const message = (to: readonly (string | Recipient)[], envelope: Partial<Envelope> = {}, body = 'Hello\r\n.\r\n..two\r\n'): NewMessage => ({
  envelope: {
    sender: 'sender@example.org',
    recipients: to.map((one) => (typeof one === 'string' ? recipient(one) : one)),
    body: '7BIT',
    smtpUtf8: false,
    ...envelope,
  },
  content: Buffer.from(`From: sender@example.org\r\nMessage-ID: <${Math.random()}@example.org>\r\n\r\n${body}`),
  acceptedAt: Date.now(),
})

const settingsFor = (
  providers: Readonly<Record<string, { readonly address: string; readonly port: number }>>,
  rest: Partial<DeliverySettings> = {},
): DeliverySettings => ({
  mode: 'Run',
  addresses: [{ address: '127.0.0.5', hostName: 'out5.example.org' }],
  delivery: { maxConnectionsPerDestination: 20, maxMessagesPerConnection: 100 },
  routes: Object.entries(providers).map(([domain, { address, port }]) => ({ domain, nextHop: { host: address, port } })),
  queue: { retrySeconds: [300], maxAgeSeconds: 432_000 },
  ...rest,
})

type Started = {
  readonly queue: MemoryQueue
  readonly scheduler: Scheduler
  readonly lines: { readonly message: string; readonly facts: Record<string, unknown> }[]
}

function start(settings: DeliverySettings | (() => DeliverySettings), rest: Partial<SchedulerOptions> = {}): Started {
  const queue = openMemoryQueue()
  const lines: Started['lines'] = []
  const log = (facts: object, text: string): void => void lines.push({ message: text, facts: { ...facts } })
  const scheduler = using(
    openScheduler({
      store: queue,
      settings: typeof settings === 'function' ? settings : () => settings,
      log: { info: log, warn: log, error: log },
      clock: () => Date.now(),
      random: () => 0.5,
      signal: new AbortController().signal,
      onBroken: (cause) => {
        throw cause
      },
      ...rest,
    }),
  )
  return { queue, scheduler, lines }
}

const drained = (queue: MemoryQueue): boolean => queue.totals().messages === 0

test('a message arrives from the source address with its EHLO name, byte for byte', async () => {
  const provider = using(await openProvider({ name: 'plain', keep: 'content' }))
  const { queue } = start(settingsFor({ '*': provider }))
  const sent = message(['user@example.com'])
  await queue.append(sent)
  await queue.settledUntil(drained)
  const [arrival] = provider.arrivals()
  expect(arrival).toMatchObject({
    outcome: 'arrived',
    sourceAddress: '127.0.0.5',
    hello: 'out5.example.org',
    tls: null,
    sender: 'sender@example.org',
    recipients: [{ address: 'user@example.com', parameters: [] }],
    senderParameters: [`SIZE=${sent.content.length}`],
  })
  expect(provider.contentOf(arrival!)?.toString()).toBe(sent.content.toString())
})
