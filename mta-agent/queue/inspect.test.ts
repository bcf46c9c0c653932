import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import { expect, test } from 'vitest'
import { deferred, envelope, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { inspect, parseInspection } from './inspect.ts'
import { openTables } from './lmdb-queue-store.ts'
import type { Table } from './tables.ts'

async function say(directory: string, ...command: string[]) {
  const lines: string[] = []
  const sound = await inspect(parseInspection([directory, ...command]), (line) => void lines.push(line.trimEnd()))
  return { sound, lines: lines.map((line) => line.replace(/copy [0-9a-f]{32}/, 'copy COPY')) }
}

/** Two messages, the first of them tried once at one of its two destinations. */
async function fill(directory: string): Promise<void> {
  await using queue = await openQueue(directory)
  await queue.append(message(['ann@one.example', 'bob@two.example', 'cid@one.example']))
  await queue.append(message(['d@one.example'], { envelope: { ...envelope('d@one.example'), sender: '' }, acceptedAt: NOON + 1000 }))
  const [one] = queue.takeDue(NOON, 1)
  const outcomes = one!.recipients.map(({ index }) => ({ index, outcome: deferred }))
  await queue.settle({ ...one!, at: NOON, outcomes, nextAttemptAt: NOON + 60_000 })
}

async function damage(directory: string, table: Table): Promise<void> {
  await using tables = openTables(directory)
  const { key, value } = tables.range(table, { limit: 1 })[0]!
  value[value.length - 1]! ^= 1
  await tables.commit([{ table, key, value }])
}

const HEAD = [
  'stream news shard 0, copy COPY, epoch 1, last entry 3',
  '2 messages of 50 bytes, 4 recipients still to be served, 2 of them tried before',
]

test('list has a line for each message at each destination', async () => {
  using directory = temporaryDirectory()
  await fill(directory.path)
  expect(await say(directory.path)).toEqual({
    sound: true,
    lines: [
      ...HEAD,
      'QUEUE ID      ACCEPTED              BYTES      TRIED  NEXT ATTEMPT          FROM > TO',
      '1-1           2026-01-05T12:00:00Z  25         1      2026-01-05T12:01:00Z  <news@sender.example> > ann@one.example cid@one.example',
      '1-1           2026-01-05T12:00:00Z  25         0      2026-01-05T12:00:00Z  <news@sender.example> > bob@two.example',
      '1-2           2026-01-05T12:00:01Z  25         0      2026-01-05T12:00:01Z  <> > d@one.example',
    ],
  })
})

test('show has the envelope, what is left to do, and the header without its control characters', async () => {
  using directory = temporaryDirectory()
  {
    await using queue = await openQueue(directory.path)
    await queue.append(message(['ann@one.example'], { content: Buffer.from('Subject: \u001b[2Jhello\r\nX: y\r\n\r\nsecret\r\n') }))
  }
  expect(await say(directory.path, 'show', '1-1')).toEqual({
    sound: true,
    lines: [
      '1-1, accepted 2026-01-05T12:00:00Z, 36 bytes, 8BITMIME',
      'from <news@sender.example> to 1 recipients; still to be served:',
      '  at one.example: tried 0 times, next attempt 2026-01-05T12:00:00Z',
      '    ann@one.example',
      'content: sound; its header:',
      String.raw`  Subject: \x1b[2Jhello`,
      '  X: y',
    ],
  })
  expect(await say(directory.path, 'show', '1-9')).toEqual({
    sound: false,
    lines: ['1-9 is not in this queue: it was delivered or returned, or it never was'],
  })
})

test('verify reads everything and names what is damaged', async () => {
  using directory = temporaryDirectory()
  await fill(directory.path)
  const log = 'log 1 to 3, deliveries to 2 destinations and schedule: sound'
  expect(await say(directory.path, 'verify')).toEqual({
    sound: true,
    lines: [...HEAD, log, '2 messages of 50 bytes were read, 0 of them are damaged'],
  })
  await damage(directory.path, 'bodies')
  const fault = 'damaged: bodies 1-1: must be as it was accepted, was of another checksum'
  expect(await say(directory.path, 'verify')).toEqual({
    sound: false,
    lines: [...HEAD, log, fault, '2 messages of 25 bytes were read, 1 of them are damaged'],
  })
  expect((await say(directory.path, 'show', '1-1')).lines.at(-1)).toBe(fault)
  await damage(directory.path, 'log')
  const { sound, lines } = await say(directory.path, 'verify')
  expect([sound, lines[2]]).toEqual([
    false,
    expect.stringMatching(/^damaged: log 1: must be of checksum .+; an agent refuses this volume$/),
  ])
})

test('looking changes nothing, and an envelope that is damaged hides no other', async () => {
  using directory = temporaryDirectory()
  await fill(directory.path)
  await damage(directory.path, 'messages')
  const file = join(directory.path, 'queue.mdb')
  const before = readFileSync(file)
  expect((await say(directory.path, 'list')).lines.slice(3).map((line) => line.slice(0, 4) + line.slice(76))).toEqual([
    '1-1 <? (damaged)> > ann@one.example cid@one.example',
    '1-1 <? (damaged)> > bob@two.example',
    '1-2 <> > d@one.example',
  ])
  expect((await say(directory.path, 'show', '1-1')).sound).toBe(false)
  await say(directory.path, 'verify')
  expect(readFileSync(file).equals(before)).toBe(true)
})

const run = (...args: readonly string[]) => {
  const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('./inspect.ts', import.meta.url)), ...args], {
    encoding: 'utf8',
  })
  return { status, stderr: stderr.trim() }
}

test('an agent that has the queue open is not disturbed', async () => {
  using directory = temporaryDirectory()
  await using _queue = await openQueue(directory.path)
  expect(run(directory.path, 'verify')).toEqual({
    status: 1,
    stderr: `${directory.path}: must be free, was locked by another process; an agent has this queue open: ask its /metrics, or stop it first`,
  })
})

test('a directory without a queue stays empty, and a wrong command says what would be right', () => {
  using directory = temporaryDirectory()
  expect(run(directory.path)).toEqual({
    status: 1,
    stderr: `${directory.path}: must have a queue, has none (${join(directory.path, 'queue.mdb')} is not there)`,
  })
  expect(readdirSync(directory.path)).toEqual([])
  expect(run(directory.path, 'flush')).toEqual({
    status: 2,
    stderr: `usage: queue DIRECTORY [list | verify | show QUEUEID], was "${directory.path} flush"`,
  })
  expect(run(directory.path, 'show', 'x')).toEqual({ status: 2, stderr: 'not a queue id: must be EPOCH-SEQUENCE, was "x"' })
})

test('a queue that is older than some of its tables is looked at, and opened, as it is', async () => {
  using directory = temporaryDirectory()
  await fill(directory.path)
  await dropTables(directory.path, ['undo', 'aside', 'notes'])
  expect(await say(directory.path, 'verify')).toEqual({
    sound: true,
    lines: [
      ...HEAD,
      'log 1 to 3, deliveries to 2 destinations and schedule: sound',
      '2 messages of 50 bytes were read, 0 of them are damaged',
    ],
  })
  await using queue = await openQueue(directory.path, { replicated: true })
  expect({ last: queue.lastSequence(), cutsTo: queue.cutsTo(), aside: queue.aside() }).toEqual({ last: 3, cutsTo: 3, aside: [] })
})

async function dropTables(directory: string, names: readonly Table[]): Promise<void> {
  const root = open({ path: join(directory, 'queue.mdb'), noSubdir: true, maxDbs: 20 })
  for (const name of names) await root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' }).drop()
  await root.close()
}
