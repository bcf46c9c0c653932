import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { openTables } from './lmdb-queue-store.ts'
import { openQueueStore } from './log-queue-store.ts'
import { IDENTITY_KEY, POSITION_KEY } from './store-meta.ts'
import { SENTINEL } from './keys.ts'
import { TABLES, type Table, type Tables, type Write } from './tables.ts'

const ROOM = { volumeBytes: 2 ** 40, freeBytes: 2 ** 39, reusableBytes: 0 }

async function change(directory: string, write: (tables: Tables) => readonly Write[]): Promise<void> {
  await using tables = openTables(directory)
  await tables.commit(write(tables))
}

const firstRow = (tables: Tables, table: Table) => tables.range(table, { limit: 1 })[0]!

function flipped(tables: Tables, table: Table): Write {
  const { key, value } = firstRow(tables, table)
  value[value.length - 1]! ^= 1
  return { table, key, value }
}

test('a commit that fails for another reason than a full disk ends the store: nothing is acknowledged any more', async () => {
  using directory = temporaryDirectory()
  await using tables = openTables(directory.path)
  const broken: unknown[] = []
  let failing = false
  const failure = new Error('EIO')
  const store = await openQueueStore(
    { ...tables, commit: (writes) => (failing ? Promise.reject(failure) : tables.commit(writes)) },
    { shard: { stream: 'news', shard: 0 }, clock: () => NOON, measureSpace: () => ROOM, onBroken: (error) => broken.push(error) },
  )
  await store.append(message())
  failing = true
  const [first, second] = await Promise.allSettled([store.append(message()), store.append(message())])
  failing = false

  expect([first.status, second.status]).toEqual(['rejected', 'rejected'])
  expect(broken).toEqual([new Error('the queue is broken: EIO', { cause: failure })])
  await expect(store.append(message())).rejects.toThrow('no room')
  expect({ room: store.room(1), due: store.takeDue(NOON, 10), last: store.lastSequence() }).toEqual({ room: 'full', due: [], last: 1 })
})

test.each([
  { disk: 'has room', freeBytes: ROOM.freeBytes },
  { disk: 'is full', freeBytes: 0 },
])(
  'a row of undo that is missing when its entry of an earlier run is committed ends the store, once: the disk $disk',
  async ({ freeBytes }) => {
    using directory = temporaryDirectory()
    {
      await using before = await openQueue(directory.path, { replicated: true })
      await before.beginEpoch(1)
      await before.append(message())
    }
    await using tables = openTables(directory.path)
    const ended = Promise.withResolvers<unknown>()
    let told = 0
    const onBroken = (error: unknown): void => {
      told++
      ended.resolve(error)
    }
    const store = await openQueueStore(
      { ...tables, get: (table, key) => (table === 'undo' ? undefined : tables.get(table, key)) },
      { shard: { stream: 'news', shard: 0 }, clock: () => NOON, measureSpace: () => ({ ...ROOM, freeBytes }), onBroken, replicated: true },
    )
    await store.beginEpoch(2)
    store.setCommitted(1)
    expect(String(await ended.promise)).toContain('undo 1: must be there until it is forgotten, was missing')
    await expect(store.append(message())).rejects.toThrow('no room')
    expect(told).toBe(1)
  },
)

test.each<{ what: string; write: (tables: Tables) => readonly Write[]; error: RegExp }>([
  { what: 'a damaged delivery', write: (tables) => [flipped(tables, 'deliveries')], error: /^deliveries [0-9a-f]+: must be of checksum/ },
  { what: 'a damaged log entry', write: (tables) => [flipped(tables, 'log')], error: /^log 1: must be of checksum/ },
  {
    what: 'a gap in the log',
    write: (tables) => [{ table: 'log', key: tables.keys('log', { limit: 2 })[1]! }],
    error: /^log: must be without a gap/,
  },
  {
    what: 'a missing delivery',
    write: (tables) => [{ table: 'deliveries', key: firstRow(tables, 'deliveries').key }],
    error: /^deliveries: must be of 2 recipients, was of 1/,
  },
  {
    what: 'a missing message',
    write: (tables) => [{ table: 'messages', key: firstRow(tables, 'messages').key }],
    error: /^messages: must be of 2 messages, was of 1/,
  },
  {
    what: 'a missing schedule row',
    write: (tables) => [{ table: 'schedule', key: firstRow(tables, 'schedule').key }],
    error: /^schedule: must be of 2 deliveries, was of 1/,
  },
  { what: 'no position', write: () => [{ table: 'meta', key: POSITION_KEY }], error: /^meta position: must be there, was missing/ },
  {
    what: 'no identity',
    write: () => [{ table: 'meta', key: IDENTITY_KEY }],
    error: /^meta identity: must be there, as there are records/,
  },
])('a volume with $what is not opened', async ({ write, error }) => {
  using directory = temporaryDirectory()
  const queue = await openQueue(directory.path)
  await queue.append(message())
  await queue.append(message())
  await queue[Symbol.asyncDispose]()
  await change(directory.path, write)

  await expect(openQueue(directory.path)).rejects.toThrow(error)
})

test('damaged content is found when it is read, and by the scrub, which goes on behind it, and is never handed out', async () => {
  using directory = temporaryDirectory()
  const before = await openQueue(directory.path)
  const queueId = await before.append(message())
  await before.append(message())
  await before[Symbol.asyncDispose]()
  await change(directory.path, (tables) => [flipped(tables, 'bodies')])

  await using queue = await openQueue(directory.path)
  const error = `bodies ${queueId}: must be as it was accepted, was of another checksum`
  expect(() => queue.readContent(queueId)).toThrow(error)
  const damaged: string[] = []
  const onDamage = (id: string, damage: Error) => void damaged.push(`${id}: ${damage.message}`)
  expect(await queue.scrub(new AbortController().signal, { onDamage })).toEqual({ messages: 2, contentBytes: 25, damaged: 1 })
  expect(damaged).toEqual([`${queueId}: ${error}`])
})

test('a damaged envelope is found when it is read, and the queue goes on', async () => {
  using directory = temporaryDirectory()
  const before = await openQueue(directory.path)
  const queueId = await before.append(message(undefined, { acceptedAt: NOON - 2000 }))
  await before.append(message(undefined, { acceptedAt: NOON - 1000 }))
  await before[Symbol.asyncDispose]()
  await change(directory.path, (tables) => [flipped(tables, 'messages')])

  await using queue = await openQueue(directory.path)
  expect(() => queue.readMessage(queueId)).toThrow(`messages ${queueId}: must be of checksum`)
  expect(queue.totals()).toMatchObject({ messages: 2, oldestAcceptedAt: NOON - 1000 })
  expect(queue.takeExpired(NOON, 10).map((delivery) => delivery.queueId)).toEqual(['1-2'])
  expect(queue.takeDue(NOON, 10).map((delivery) => delivery.queueId)).toEqual([queueId])
})

test('the scrub rests after every 256 messages, and stops when it is told to', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await Promise.all(Array.from({ length: 600 }, () => queue.append(message())))
  const stop = new AbortController()
  let rests = 0
  const rest = () => {
    rests += 1
    return Promise.resolve()
  }
  expect(await queue.scrub(stop.signal, { onDamage: expect.unreachable, rest })).toMatchObject({ messages: 600, damaged: 0 })
  expect(rests).toBe(2)
  const stopped = queue.scrub(stop.signal, { onDamage: expect.unreachable, rest: () => Promise.resolve(stop.abort()) })
  await expect(stopped).rejects.toThrow('aborted')
})

test('every table keeps its sentinel, also when all mail is gone', async () => {
  using directory = temporaryDirectory()
  const queue = await openQueue(directory.path)
  await queue.append(message(['ann@one.example', 'bob@two.example']))
  for (const delivery of queue.takeDue(NOON, 2)) {
    await queue.settle({ ...delivery, at: NOON, outcomes: delivery.recipients.map(({ index }) => ({ index, outcome: delivered })) })
  }
  await queue[Symbol.asyncDispose]()

  await using tables = openTables(directory.path)
  expect(TABLES.filter((table) => tables.get(table, SENTINEL) === undefined)).toEqual([])
  expect(TABLES.map((table) => [table, tables.count(table)])).toEqual([
    ['meta', 2],
    ['log', 3],
    ['messages', 0],
    ['bodies', 0],
    ['deliveries', 0],
    ['schedule', 0],
    ['remaining', 0],
    ['undo', 0],
    ['aside', 0],
    ['notes', 0],
  ])
})

test('a process in namespaces of its own is kept out while the queue is open, and let in after', async () => {
  using directory = temporaryDirectory()
  const builders = fileURLToPath(new URL('../../test/builders/queue.ts', import.meta.url))
  const script = `import { openQueue } from ${JSON.stringify(builders)}; await using queue = await openQueue(process.argv[1])`
  const attempt = () =>
    spawnSync('unshare', ['--pid', '--net', '--fork', process.execPath, '--input-type=module', '-e', script, directory.path], {
      encoding: 'utf8',
    })

  const queue = await openQueue(directory.path)
  const refused = attempt()
  await queue[Symbol.asyncDispose]()
  const admitted = attempt()

  expect({ status: refused.status, said: refused.stderr.includes('must be free, was locked by another process') }).toEqual({
    status: 1,
    said: true,
  })
  expect({ status: admitted.status, stderr: admitted.stderr }).toEqual({ status: 0, stderr: '' })
})
