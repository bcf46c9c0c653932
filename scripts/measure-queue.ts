import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Domain } from '#agent/domain/envelope.ts'
import { openLmdbQueueStore } from '#agent/queue/lmdb-queue-store.ts'
import type { LogQueueStore } from '#agent/queue/log-queue.ts'

/**
 * Measures the queue on the disk of a directory: `node scripts/measure-queue.ts DIRECTORY [BACKLOG]`. Appends by 1, 16 and 128 writers, a
 * mixed run that also settles, and, with a BACKLOG, how long a restart with so many messages takes. Prints one line each. The numbers in
 * mta-agent/queue/README.md come from here.
 */
const [parent, backlog] = process.argv.slice(2)
if (parent === undefined) throw new Error('usage: measure-queue.ts DIRECTORY [BACKLOG]')
const directory = join(parent, 'measure-queue')
const RUN_MILLIS = 2000

const openQueue = (): Promise<LogQueueStore> =>
  openLmdbQueueStore({
    directory,
    shard: { stream: 'measure', shard: 0 },
    clock: Date.now,
    onBroken: (error) => {
      throw error
    },
  })

async function fresh(run: (queue: LogQueueStore) => Promise<void>): Promise<void> {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  await using queue = await openQueue()
  await run(queue)
}

const append = (queue: LogQueueStore, sizeBytes: number, nth: number): Promise<unknown> => {
  const domain = `d${nth % 1000}.example` as Domain
  const recipients = [{ address: `user${nth}@${domain}`, domain }]
  const envelope = { sender: 'bounces@sender.example', recipients, body: '8BITMIME', smtpUtf8: false } as const
  return queue.append({ envelope, content: Buffer.alloc(sizeBytes, nth), acceptedAt: Date.now() })
}

async function measureAppends(writers: number, sizeBytes: number): Promise<void> {
  await fresh(async (queue) => {
    const latencies: number[] = []
    const cpu = process.cpuUsage()
    const end = performance.now() + RUN_MILLIS
    const write = async (nth: number): Promise<void> => {
      while (performance.now() < end) {
        const start = performance.now()
        await append(queue, sizeBytes, nth + latencies.length)
        latencies.push(performance.now() - start)
      }
    }
    await Promise.all(Array.from({ length: writers }, (_, nth) => write(nth)))
    report(`append, ${writers} writers, ${sizeBytes} bytes`, latencies, process.cpuUsage(cpu))
  })
}

/** Each message is stored, taken, read and settled while others are. */
async function measureWhole(writers: number, sizeBytes: number): Promise<void> {
  await fresh(async (queue) => {
    const latencies: number[] = []
    const cpu = process.cpuUsage()
    const end = performance.now() + RUN_MILLIS
    const deliver = async (): Promise<void> => {
      const settled = queue.takeDue(Date.now(), 100).map((delivery) => {
        queue.readContent(delivery.queueId)
        const outcome = { kind: 'delivered', reply: { code: 250, enhanced: '2.0.0', text: 'ok' } } as const
        return queue.settle({ ...delivery, at: Date.now(), outcomes: [{ index: 0, outcome }] })
      })
      await Promise.all(settled)
    }
    const write = async (nth: number): Promise<void> => {
      while (performance.now() < end) {
        const start = performance.now()
        await append(queue, sizeBytes, nth + latencies.length)
        latencies.push(performance.now() - start)
        await deliver()
      }
    }
    await Promise.all(Array.from({ length: writers }, (_, nth) => write(nth)))
    report(`append and settle, ${writers} writers, ${sizeBytes} bytes`, latencies, process.cpuUsage(cpu))
  })
}

function report(what: string, latencies: readonly number[], cpu: NodeJS.CpuUsage): void {
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1)
  const cpuMicros = Math.round((cpu.user + cpu.system) / latencies.length)
  console.log(
    `${what}: ${Math.round((latencies.length * 1000) / RUN_MILLIS)}/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${cpuMicros} µs CPU each`,
  )
}

async function measureRestart(messages: number): Promise<void> {
  await fresh(async (queue) => {
    for (let nth = 0; nth < messages; nth += 2000)
      await Promise.all(Array.from({ length: 2000 }, (_, offset) => append(queue, 300, nth + offset)))
  })
  const before = anonymousMib()
  const start = performance.now()
  await using queue = await openQueue()
  const opened = performance.now() - start
  const deliveries = queue.takeDue(Date.now(), 1000)
  const taken = performance.now() - start - opened
  const { messages: found } = queue.totals()
  console.log(
    `restart with ${found} messages: ${Math.round(opened)} ms, ${deliveries.length} taken in ${taken.toFixed(1)} ms, anonymous memory ${before} to ${anonymousMib()} MiB`,
  )
}

/** Not RSS, which counts the pages of the file that happen to be mapped; the kernel takes those back when it needs them. */
const anonymousMib = (): number => Math.round(Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024)

try {
  for (const sizeBytes of [2000, 20_000]) for (const writers of [1, 16, 128]) await measureAppends(writers, sizeBytes)
  for (const writers of [16, 128]) await measureWhole(writers, 20_000)
  if (backlog !== undefined) await measureRestart(Number(backlog))
} finally {
  rmSync(directory, { recursive: true, force: true })
}
