import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bounced, deferred, delivered, envelope, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import { DirectoryLocked } from './directory-lock.ts'
import type { Delivery } from './queue-store.ts'
import { ForeignVolume } from './store-meta.ts'

const brief = ({ queueId, destination, recipients, attempts, dueAt }: Delivery) => ({
  queueId,
  destination,
  indexes: recipients.map((recipient) => recipient.index),
  attempts,
  dueAt,
})

test('a message is one body, one envelope and a delivery for each destination', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)

  const queueId = await queue.append(message(['ann@one.example', 'bob@two.example', 'cid@one.example']))

  expect(queueId).toBe('1-1')
  expect(queue.takeDue(NOON, 10).map(brief)).toEqual([
    { queueId, destination: 'one.example', indexes: [0, 2], attempts: 0, dueAt: NOON },
    { queueId, destination: 'two.example', indexes: [1], attempts: 0, dueAt: NOON },
  ])
  expect(queue.readMessage(queueId)).toEqual({
    queueId,
    envelope: envelope('ann@one.example', 'bob@two.example', 'cid@one.example'),
    acceptedAt: NOON,
    sizeBytes: 25,
  })
  expect(queue.readContent(queueId)?.toString()).toBe('Subject: hello\r\n\r\nhello\r\n')
  expect(queue.totals()).toEqual({ messages: 1, recipients: 3, deferred: 0, contentBytes: 25, oldestAcceptedAt: NOON })
})

test('a delivery that was taken is given to nobody else until it is released', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await queue.append(message(['ann@one.example', 'bob@two.example']))

  const [first] = queue.takeDue(NOON, 1)
  const rest = queue.takeDue(NOON, 10)
  expect(queue.takeDue(NOON, 10)).toEqual([])
  expect(queue.nextDueAt()).toBeUndefined()

  queue.release([first!, ...rest])
  expect(queue.nextDueAt()).toBe(NOON)
  expect(queue.takeDue(NOON, 10)).toEqual([first, ...rest])
})

test('nothing is due before its time', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await queue.append(message(undefined, { acceptedAt: NOON + 5 }))

  expect(queue.takeDue(NOON + 4, 10)).toEqual([])
  expect(queue.nextDueAt()).toBe(NOON + 5)
  expect(queue.takeDue(NOON + 5, 10)).toHaveLength(1)
})

test('a destination without room is passed over, and of the others no more are taken than have room', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  for (const to of ['a@full.example', 'b@full.example', 'c@one.example', 'd@two.example', 'e@two.example'])
    await queue.append(message([to]))
  const room = (destination: string) => ({ 'full.example': 0, 'one.example': 5, 'two.example': 1 })[destination] ?? 0

  expect(queue.takeDue(NOON, 10, room).map((delivery) => delivery.queueId)).toEqual(['1-3', '1-4'])
  expect(queue.nextDueAt((destination) => (destination === 'full.example' ? 0 : 1))).toBe(NOON)
  expect(queue.takeDue(NOON, 10).map((delivery) => delivery.queueId)).toEqual(['1-1', '1-2', '1-5'])
})

test('deliveries of messages that are too old are taken, due or not, oldest first, once', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await queue.append(message(['ann@one.example', 'bob@two.example'], { acceptedAt: NOON - 1000 }))
  await queue.append(message(undefined, { acceptedAt: NOON }))
  await queue.append(message(undefined, { acceptedAt: NOON - 500 }))
  const [one] = queue.takeDue(NOON, 1)
  await queue.settle({ ...one!, at: NOON, outcomes: [{ index: 0, outcome: deferred }], nextAttemptAt: NOON + 60_000 })

  expect(queue.takeExpired(NOON, 10).map(brief)).toEqual([
    { queueId: '1-1', destination: 'one.example', indexes: [0], attempts: 1, dueAt: NOON + 60_000 },
    { queueId: '1-1', destination: 'two.example', indexes: [1], attempts: 0, dueAt: NOON - 1000 },
    { queueId: '1-3', destination: 'one.example', indexes: [0], attempts: 0, dueAt: NOON - 500 },
  ])
  expect(queue.takeExpired(NOON, 10)).toEqual([])
  expect(queue.takeDue(NOON + 60_000, 10).map((delivery) => delivery.queueId)).toEqual(['1-2'])
})

test('settling defers some recipients, finishes others, and the last one takes the message with it', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  const queueId = await queue.append(message(['ann@one.example', 'bob@one.example', 'cid@two.example']))
  const [one, two] = queue.takeDue(NOON, 10)

  await queue.settle({
    ...one!,
    at: NOON + 1000,
    outcomes: [
      { index: 0, outcome: delivered },
      { index: 1, outcome: deferred },
    ],
    nextAttemptAt: NOON + 60_000,
  })
  expect(queue.totals()).toEqual({ messages: 1, recipients: 2, deferred: 1, contentBytes: 25, oldestAcceptedAt: NOON })

  await queue.settle({ ...two!, at: NOON + 1000, outcomes: [{ index: 2, outcome: delivered }] })
  expect(queue.totals()).toEqual({ messages: 1, recipients: 1, deferred: 1, contentBytes: 25, oldestAcceptedAt: NOON })
  expect(queue.nextDueAt()).toBe(NOON + 60_000)

  const [again] = queue.takeDue(NOON + 60_000, 10)
  expect(brief(again!)).toEqual({ queueId, destination: 'one.example', indexes: [1], attempts: 1, dueAt: NOON + 60_000 })
  await queue.settle({ ...again!, at: NOON + 60_000, outcomes: [{ index: 1, outcome: bounced }] })
  expect(queue.totals()).toEqual({ messages: 0, recipients: 0, deferred: 0, contentBytes: 0 })
  expect(queue.handled()).toEqual({ accepted: 1, delivered: 2, bounced: 1, deferred: 1 })
  expect(queue.readMessage(queueId)).toBeUndefined()
  expect(queue.readContent(queueId)).toBeUndefined()
})

test('a report is stored in the entry of the attempt that calls for it', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await queue.append(message())
  const [delivery] = queue.takeDue(NOON, 10)

  await queue.settle(
    { ...delivery!, at: NOON, outcomes: [{ index: 0, outcome: bounced }] },
    message(['news@sender.example'], { content: Buffer.from('report') }),
  )

  expect(queue.lastSequence()).toBe(2)
  const [report] = queue.takeDue(NOON, 10)
  expect(brief(report!)).toEqual({ queueId: '1-2', destination: 'sender.example', indexes: [0], attempts: 0, dueAt: NOON })
  expect(queue.readContent(report!.queueId)?.toString()).toBe('report')
})

test('recipients without an outcome stay as they were, and are due again at once', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  const queueId = await queue.append(message(['ann@one.example', 'bob@one.example']))
  const [delivery] = queue.takeDue(NOON, 10)

  await queue.settle({ ...delivery!, at: NOON, outcomes: [{ index: 0, outcome: delivered }] })

  expect(queue.takeDue(NOON, 10).map(brief)).toEqual([{ queueId, destination: 'one.example', indexes: [1], attempts: 0, dueAt: NOON }])
})

test('the listener hears of what becomes due', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  const heard = new Promise<void>((resolve) => queue.onDue(resolve))
  await queue.append(message())
  await heard
  expect(queue.takeDue(NOON, 10)).toHaveLength(1)
})

test('after a restart all is there, and what was taken is due again', async () => {
  using directory = temporaryDirectory()
  const before = await openQueue(directory.path)
  const queueId = await before.append(message(['ann@one.example', 'bob@two.example']))
  const [one] = before.takeDue(NOON, 10)
  await before.settle({ ...one!, at: NOON, outcomes: [{ index: 0, outcome: delivered }] })
  const identity = before.identity()
  await before[Symbol.asyncDispose]()

  await using after = await openQueue(directory.path)
  expect(after.identity()).toEqual(identity)
  expect(after.lastSequence()).toBe(2)
  expect(after.totals()).toEqual({ messages: 1, recipients: 1, deferred: 0, contentBytes: 25, oldestAcceptedAt: NOON })
  expect(after.takeDue(NOON, 10).map(brief)).toEqual([{ queueId, destination: 'two.example', indexes: [1], attempts: 0, dueAt: NOON }])
  expect(await after.append(message())).toBe('1-3')
})

test('the volume of another shard is refused and left alone', async () => {
  using directory = temporaryDirectory()
  await (await openQueue(directory.path))[Symbol.asyncDispose]()

  await expect(openQueue(directory.path, { shard: { stream: 'invoices', shard: 2 } })).rejects.toThrow(
    new ForeignVolume('the volume must be of stream invoices shard 2, was of stream news shard 0; it was left alone'),
  )
  await using queue = await openQueue(directory.path)
  expect(queue.identity()).toMatchObject({ stream: 'news', shard: 0 })
})

test('the same queue on another volume is another copy, with its mail', async () => {
  using directory = temporaryDirectory()
  const before = await openQueue(directory.path, { volume: 'a' })
  await before.append(message())
  await before[Symbol.asyncDispose]()

  await using after = await openQueue(directory.path, { volume: 'b' })
  expect(after.identity().copyId).toMatch(/^[0-9a-f]{32}$/)
  expect(after.identity().copyId).not.toBe(before.identity().copyId)
  expect(after.totals().messages).toBe(1)
})

test('a queue that is told its volume for the first time, or not told, is the copy that it was', async () => {
  using directory = temporaryDirectory()
  const copyIds: string[] = []
  for (const volume of ['', 'a', '', 'a']) {
    await using queue = await openQueue(directory.path, { volume })
    copyIds.push(queue.identity().copyId)
  }
  expect(new Set(copyIds).size).toBe(1)
  await using elsewhere = await openQueue(directory.path, { volume: 'b' })
  expect(elsewhere.identity().copyId).not.toBe(copyIds[0])
})

test('a second opening is refused while the first lasts', async () => {
  using directory = temporaryDirectory()
  const first = await openQueue(directory.path)
  await expect(openQueue(directory.path)).rejects.toThrow(DirectoryLocked)
  await first[Symbol.asyncDispose]()
  await using second = await openQueue(directory.path)
  expect(second.lastSequence()).toBe(0)
})

test('nobody else can read the mail', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(join(directory.path, 'queue'))
  await queue.append(message())
  const modes = ['.', 'queue.mdb'].map((name) => (statSync(join(directory.path, 'queue', name)).mode & 0o777).toString(8))
  expect(modes).toEqual(['700', '600'])
})

test('bad input is refused with what must be and what was, and changes nothing', async () => {
  using directory = temporaryDirectory()
  await using queue = await openQueue(directory.path)
  await queue.append(message())
  const [delivery] = queue.takeDue(NOON, 10)
  const deferral = { ...delivery!, at: NOON, outcomes: [{ index: 0, outcome: deferred }] }

  await expect(queue.append(message([]))).rejects.toThrow('a message must have at least one recipient, had none')
  await expect(queue.append(message(undefined, { acceptedAt: 1.5 }))).rejects.toThrow(
    'acceptedAt must be a whole number from 0 to 2^48 - 1, was 1.5',
  )
  await expect(queue.settle(deferral)).rejects.toThrow('1-1 to one.example: nextAttemptAt must be given with a deferred recipient, was not')
  await expect(queue.settle({ ...deferral, outcomes: [{ index: 7, outcome: delivered }] })).rejects.toThrow(
    '1-1 to one.example: an outcome must be of one of recipients 0, was of 7',
  )
  expect(queue.lastSequence()).toBe(1)

  await queue.settle({ ...deferral, nextAttemptAt: NOON + 1 })
  await expect(queue.settle(deferral)).rejects.toThrow('1-1 to one.example: must be taken and unsettled, was not taken')
  expect(queue.lastSequence()).toBe(2)
})
