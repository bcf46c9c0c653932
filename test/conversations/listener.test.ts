import fc from 'fast-check'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { makeCertificate, openStage, type Staged } from './stage.ts'
import { Client } from './play.ts'

/** What a transcript cannot say: many sessions at a time, large messages, certificates that change, and clients that send anything at all. */

const HEADER = 'EHLO client.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n'

async function openClient(stage: Staged): Promise<Client> {
  return await Client.open(stage.submission.ports.submission, 'clear')
}

/** Reads lines up to the first that begins with the text, and answers with it. */
async function readTo(client: Client, start: string): Promise<string> {
  for (;;) {
    const line = await client.line()
    if (line === undefined) throw new Error(`the connection ended before ${start}`)
    if (line.startsWith(start)) return line
  }
}

async function beginData(stage: Staged): Promise<Client> {
  const client = await openClient(stage)
  await readTo(client, '220')
  client.send(HEADER)
  await readTo(client, '354')
  return client
}

test('a message that grows over the limit is refused after its end, whatever was declared', async () => {
  await using stage = await openStage()
  const client = await beginData(stage)
  client.send(`Subject: x\r\n\r\n${`${'x'.repeat(98)}\r\n`.repeat(1000)}.\r\n`)
  expect(await client.line()).toMatch(/^552 5\.3\.4 /)
  client.send('NOOP\r\n')
  expect(await client.line()).toBe('250 2.0.0 OK')
  expect(stage.queue.stored).toEqual([])
  client.destroy()
})

test('while the gate is closed, every connection is told so and ended; when it opens, mail comes in', async () => {
  await using stage = await openStage()
  stage.gate = { code: 421, enhanced: '4.3.2', text: 'this instance is a standby; try again' }
  const refused = await openClient(stage)
  expect(await refused.line()).toBe('421 4.3.2 this instance is a standby; try again')
  await refused.closed()
  stage.gate = 'open'
  const client = await beginData(stage)
  client.send('Subject: x\r\n\r\n.\r\n')
  expect(await client.line()).toMatch(/^250 /)
  for (const one of [refused, client]) one.destroy()
})

test('connections over the limit get 421, and places that are given back are taken again', async () => {
  await using stage = await openStage({ settings: { maxConnections: 2 } })
  const [one, two] = [await openClient(stage), await openClient(stage)]
  await Promise.all([readTo(one, '220'), readTo(two, '220')])
  const three = await openClient(stage)
  expect(await three.line()).toMatch(/^421 /)
  one.send('QUIT\r\n')
  await readTo(one, '221')
  await one.closed()
  const four = await openClient(stage)
  expect(await four.line()).toMatch(/^220 /)
  for (const client of [one, two, three, four]) client.destroy()
})

test('bytes of messages being received are bounded over all sessions: who comes too much is told 452', { timeout: 30_000 }, async () => {
  const megabyte = 2 ** 20
  await using stage = await openStage({ settings: { maxMessageBytes: 32 * megabyte } })
  const piece = `${'x'.repeat(998)}\r\n`.repeat(1024)
  // What is being stored counts too: held there, two messages fill the budget of 64 MiB, in whatever order they come.
  const { open } = gateOf(stage)
  const clients = await Promise.all(Array.from({ length: 3 }, () => beginData(stage)))
  for (const client of clients) client.send(`Subject: x\r\n\r\n${piece.repeat(30)}.\r\n`)
  const waiting = clients.map((client) => client.line())
  expect(await Promise.race(waiting)).toMatch(/^452 4\.3\.1 too many messages/)
  open()
  const replies = await Promise.all(waiting)
  const codes = replies.map((reply) => reply?.slice(0, 9)).toSorted((a, b) => (a! < b! ? -1 : 1))
  expect(codes).toEqual(['250 2.0.0', '250 2.0.0', '452 4.3.1'])
  for (const client of clients) client.destroy()
})

test('a client that goes in the middle of a message leaves nothing behind', async () => {
  await using stage = await openStage()
  const client = await beginData(stage)
  client.send('Subject: x\r\n\r\nhalf')
  client.destroy()
  const next = await beginData(stage)
  next.send('Subject: y\r\n\r\n.\r\n')
  expect(await next.line()).toBe('250 2.0.0 queued as 1-1')
  next.destroy()
})

test('250 is said only after the store has the message', async () => {
  await using stage = await openStage()
  const { called, open } = gateOf(stage)
  const client = await beginData(stage)
  client.send('Subject: x\r\n\r\n.\r\n')
  const reply = client.line()
  await called
  expect(await Promise.race([reply, someTurns('nothing yet')])).toBe('nothing yet')
  open()
  expect(await reply).toBe('250 2.0.0 queued as 1-1')
  client.destroy()
})

test('draining waits for a message that is being stored, even when its client is gone', async () => {
  await using stage = await openStage()
  const { called, open } = gateOf(stage)
  const client = await beginData(stage)
  client.send('Subject: x\r\n\r\n.\r\n')
  await called
  const drained = stage.submission.drain(AbortSignal.abort()).then(() => 'drained')
  await client.closed()
  expect(await Promise.race([drained, someTurns('waits')])).toBe('waits')
  open()
  expect(await drained).toBe('drained')
  client.destroy()
})

test('a client that resets its connection does not end a drain that others still need', async () => {
  await using stage = await openStage()
  const [stays, resets] = [await beginData(stage), await beginData(stage)]
  const drained = stage.submission.drain(new AbortController().signal).then(() => 'drained')
  resets.reset()
  await someTurns(undefined)
  stays.send('Subject: x\r\n\r\n.\r\n')
  expect(await readTo(stays, '250 2.0.0')).toBe('250 2.0.0 queued as 1-1')
  expect(await drained).toBe('drained')
  stays.destroy()
})

/** The store hangs from the moment it is called until it is let go. */
function gateOf(stage: Staged) {
  const called = Promise.withResolvers<void>()
  const opens = Promise.withResolvers<void>()
  stage.queue.gate = { called: called.resolve, opens: opens.promise }
  return { called: called.promise, open: opens.resolve }
}

/** Long enough, in turns of the event loop, for all that could happen to have happened. */
async function someTurns<T>(answer: T): Promise<T> {
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
  return answer
}

test('a new certificate is shown to the next session, and the port of implicit TLS opens with the first one', async () => {
  await using stage = await openStage()
  expect(stage.submission.ports.submissions).toBeUndefined()
  stage.certificate = await makeCertificate('first.example')
  await stage.submission.reconfigure()
  expect(await nameShown(stage)).toBe('first.example')
  stage.certificate = await makeCertificate('second.example')
  await stage.submission.reconfigure()
  expect(await nameShown(stage)).toBe('second.example')
})

test('two changes at a time open the port of implicit TLS once', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  other.close()
  await once(other, 'close')
  await using stage = await openStage({ settings: { implicitTlsPort: port } })
  stage.certificate = await makeCertificate('mta.example')
  const newer = await makeCertificate('newer.example')
  const first = stage.submission.reconfigure()
  await Promise.resolve()
  stage.certificate = newer
  await Promise.all([first, stage.submission.reconfigure()])
  expect(stage.submission.ports.submissions).toBe(port)
  expect(await nameShown(stage)).toBe('newer.example')
})

test('the port of implicit TLS that opens while a drain begins is closed again', async () => {
  await using stage = await openStage()
  stage.certificate = await makeCertificate('mta.example')
  const changed = stage.submission.reconfigure()
  await Promise.resolve()
  await stage.submission.drain(AbortSignal.abort())
  await changed
  expect(stage.submission.ports.submissions).toBeUndefined()
})

test('TLS below 1.2 is refused', async () => {
  await using stage = await openStage({ certificate: await makeCertificate('mta.example') })
  const old = connectTls({
    port: stage.submission.ports.submissions!,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  const error = await new Promise<Error>((resolve) =>
    old.once('error', resolve).once('secureConnect', () => resolve(new Error('connected'))),
  )
  expect(error.message).toMatch(/protocol version/)
  old.destroy()
})

test.each(['NOOP', 'RCPT TO:<a@example.com>', 'DATA'])('a session that only chats is ended (%s)', async (command) => {
  await using stage = await openStage()
  const client = await openClient(stage)
  await readTo(client, '220')
  client.send(`EHLO client.example\r\n${`${command}\r\n`.repeat(100)}`)
  expect(await readTo(client, '421')).toBe('421 4.7.0 more than 100 commands without a message')
  client.destroy()
})

test('the recipients of a message are no chat', async () => {
  await using stage = await openStage({ settings: { maxRecipients: 1000 } })
  const client = await openClient(stage)
  await readTo(client, '220')
  const recipients = Array.from({ length: 300 }, (_, at) => `RCPT TO:<user${at}@example.com>\r\n`).join('')
  client.send(`EHLO client.example\r\nMAIL FROM:<a@example.com>\r\n${recipients}DATA\r\n`)
  expect(await readTo(client, '354')).toMatch(/^354/)
  client.destroy()
})

test('whatever clients send, the listener stays and takes the next message', { timeout: 60_000 }, async () => {
  const certificate = await makeCertificate('mta.example')
  await using stage = await openStage({ certificate, users: { user: 'secret' }, settings: { maxConnections: 50 } })
  const word = fc.oneof(
    fc.constantFrom(
      'EHLO x\r\n',
      'HELO\r\n',
      'MAIL FROM:<a@example.com>\r\n',
      'MAIL FROM:<> SIZE=99999999999999999999\r\n',
      'RCPT TO:<b@example.org>\r\n',
      'DATA\r\n',
      'RSET\r\n',
      'STARTTLS\r\n',
      'AUTH PLAIN AHVzZXIAc2VjcmV0\r\n',
      'AUTH LOGIN\r\n',
      'BDAT 1\r\n',
      'XCLIENT ADDR=1.2.3.4\r\n',
      'QUIT\r\n',
      '\r\n.\r\n',
      '.\r\n',
      '\n.\n',
      '\r',
      '\n',
      '\0',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      'x'.repeat(20_000),
    ),
    fc.string({ unit: 'binary', maxLength: 40 }),
  )
  const session = fc.record({ words: fc.array(word, { maxLength: 12 }), waits: fc.boolean(), tls: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(session, { minLength: 1, maxLength: 10 }), async (sessions) => {
      await Promise.all(
        sessions.map(async ({ words, waits, tls }) => {
          const { ports } = stage.submission
          const client = await Client.open((tls ? ports.submissions : ports.submission)!, 'clear')
          if (waits && !tls) await client.line()
          for (const text of words) client.send(text)
          if (waits) client.send('\r\nQUIT\r\n')
          client.destroy()
        }),
      )
    }),
    { numRuns: 20 },
  )
  const client = await beginData(stage)
  client.send('Subject: still here\r\n\r\n.\r\n')
  expect(await client.line()).toMatch(/^250 2\.0\.0 queued as /)
  client.destroy()
})

function nameShown(stage: Staged): Promise<string> {
  const socket = connectTls({ port: stage.submission.ports.submissions!, host: '127.0.0.1', rejectUnauthorized: false })
  return new Promise((resolve, reject) => {
    socket.once('error', reject).once('secureConnect', () => {
      resolve(String(socket.getPeerCertificate().subject.CN))
      socket.destroy()
    })
  })
}
