import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { QueueId } from '#agent/domain/queue-id.ts'
import { openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import type { LogQueueStore } from './log-queue.ts'

const WRITER = fileURLToPath(new URL('../../test/builders/queue-writer.ts', import.meta.url))
const ROUNDS = 12

type Facts = { readonly stored: Set<string>; readonly settling: Set<string>; readonly settled: Set<string> }

/** Lets the writer run for some milliseconds, kills it, and adds what it had promised by then. */
async function runAndKill(directory: string, round: number, runMillis: number, facts: Facts): Promise<void> {
  const writer = spawn(process.execPath, [WRITER, directory, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(writer, 'exit')
  for await (const line of createInterface({ input: writer.stdout })) {
    const [word, ...name] = line.split(' ')
    if (word === 'ready') void delay(runMillis).then(() => writer.kill('SIGKILL'))
    else facts[word as keyof Facts].add(name.join(' '))
  }
  expect(await exited).toEqual([null, 'SIGKILL'])
}

const waiting = (queue: LogQueueStore): readonly string[] => {
  const deliveries = queue.takeDue(Number.MAX_SAFE_INTEGER / 100, 1_000_000)
  queue.release(deliveries)
  return deliveries.map((delivery) => `${delivery.queueId} ${delivery.destination}`)
}

/** What is missing or too much, by the promises; opening has already checked sums, log and records. */
async function broken(queue: LogQueueStore, facts: Facts): Promise<readonly string[]> {
  const there = new Set(waiting(queue))
  const back = [...facts.settled].filter((name) => there.has(name)).map((name) => `${name} was settled and is back`)
  const known = new Set([...facts.settling].map((name) => name.split(' ')[0]))
  const lost = [...facts.stored]
    .filter((id) => !known.has(id) && !queue.readContent(id as QueueId))
    .map((id) => `${id} was stored and is gone`)
  const { messages } = await queue.scrub(new AbortController().signal, {
    onDamage: (_queueId, damage) => expect.unreachable(damage.message),
  })
  const sums = messages === queue.totals().messages && there.size === queue.totals().recipients ? [] : ['the sums are wrong']
  return [...back, ...lost, ...sums]
}

/** Reading throws at a gap and at a damaged entry. */
function entriesIn(queue: LogQueueStore): number {
  let count = 0
  while (count < queue.lastSequence()) count += queue.readLog(count + 1, 1000).length
  return count
}

test('a writer killed at any moment has kept every promise it made', { timeout: 60_000 }, async () => {
  using directory = temporaryDirectory()
  const facts: Facts = { stored: new Set(), settling: new Set(), settled: new Set() }
  let sequence = 0
  for (let round = 0; round < ROUNDS; round++) {
    // From the first write to well within a run, and never the same.
    await runAndKill(directory.path, round, (round * 37) % 120, facts)
    await using queue = await openQueue(directory.path)
    expect(await broken(queue, facts)).toEqual([])
    expect(entriesIn(queue)).toBe(queue.lastSequence())
    expect(queue.lastSequence()).toBeGreaterThanOrEqual(sequence)
    sequence = queue.lastSequence()
  }
  expect(facts.stored.size).toBeGreaterThan(ROUNDS)
  expect(facts.settled.size).toBeGreaterThan(0)
})
