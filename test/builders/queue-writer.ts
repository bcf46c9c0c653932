import { writeSync } from 'node:fs'
import { delivered, message, openQueue } from './queue.ts'

/**
 * A process that stores and settles without pause, made to be killed: `node queue-writer.ts DIRECTORY ROUND`. Each fact is on standard
 * output before the next thing happens: `stored ID` and `settled ID` when the promise resolved, `settling ID` before it was asked for.
 */
const [directory, round] = process.argv.slice(2)
if (directory === undefined || round === undefined) throw new Error('usage: queue-writer.ts DIRECTORY ROUND')

const say = (fact: string): void => void writeSync(1, `${fact}\n`)
const queue = await openQueue(directory)
say('ready')

async function store(nth: number): Promise<never> {
  for (let count = 0; ; count++) {
    const content = Buffer.alloc(500 * (1 + ((nth * 7 + count) % 20)), `${round} ${nth} ${count} `)
    const to = count % 5 === 0 ? ['ann@one.example', 'bob@two.example'] : [`ann@d${count % 3}.example`]
    say(`stored ${await queue.append(message(to, { content }))}`)
  }
}

/** Settles half of what is there; the other half makes the queue grow and is looked at after the kill. */
async function settle(): Promise<never> {
  for (;;) {
    const deliveries = queue.takeDue(Number.MAX_SAFE_INTEGER / 100, 3)
    if (deliveries.length === 0) await new Promise<void>((resolve) => queue.onDue(resolve))
    const results = deliveries.filter((delivery) => Number(delivery.queueId.split('-')[1]) % 2 === 0)
    for (const { queueId, destination } of results) say(`settling ${queueId} ${destination}`)
    await Promise.all(
      results.map(async (delivery) => {
        const outcomes = delivery.recipients.map(({ index }) => ({ index, outcome: delivered }))
        await queue.settle({ ...delivery, at: delivery.dueAt, outcomes })
        say(`settled ${delivery.queueId} ${delivery.destination}`)
      }),
    )
  }
}

await Promise.all([settle(), ...Array.from({ length: 12 }, (_, nth) => store(nth))])
