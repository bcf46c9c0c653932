import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A client that costs little: the same bytes over and over, over so many connections, each with one message under way. */

export type Load = {
  readonly port: number
  readonly connections: number
  readonly forMillis: number
  /** Of one message. */
  readonly bytes: number
}

export type Loaded = {
  readonly accepted: number
  readonly elapsedMillis: number
  /** From the final dot to its 250, in milliseconds, ascending. */
  readonly latencies: readonly number[]
}

/** Mail goes to so many domains, so that delivery has connections enough. */
const DOMAINS = 10
const HOST = '127.0.0.1'

/** Throws at the first reply that is none of success. */
export async function load({ port, connections, forMillis, bytes }: Load): Promise<Loaded> {
  const content = contentOf(bytes)
  const sessions = await Promise.all(Array.from({ length: connections }, () => openSession(port)))
  const latencies: number[] = []
  const began = performance.now()
  await Promise.all(
    sessions.map(async (session, nth) => {
      for (let count = nth; performance.now() - began < forMillis; count++) {
        session.socket.write(`MAIL FROM:<load@senders.example>\r\nRCPT TO:<user@d${count % DOMAINS}.example>\r\nDATA\r\n`)
        await session.replies(3)
        const sent = performance.now()
        session.socket.write(content)
        await session.replies(1)
        latencies.push(performance.now() - sent)
      }
    }),
  )
  const elapsedMillis = performance.now() - began
  for (const { socket } of sessions) socket.destroy()
  return { accepted: latencies.length, elapsedMillis, latencies: latencies.toSorted((a, b) => a - b) }
}

function contentOf(bytes: number): Buffer {
  const head = 'From: load@senders.example\r\nSubject: measured\r\nMessage-ID: <measured@senders.example>\r\n\r\n'
  const line = `${'x'.repeat(76)}\r\n`
  return Buffer.from(`${head}${line.repeat(Math.ceil((bytes - head.length) / line.length))}.\r\n`)
}

type Session = { readonly socket: Socket; replies(count: number): Promise<void> }

async function openSession(port: number): Promise<Session> {
  const socket = connect(port, HOST)
  socket.setNoDelay(true)
  const session = repliesOf(socket)
  await once(socket, 'connect')
  await session.replies(1)
  socket.write('EHLO client.example\r\n')
  await session.replies(1)
  return session
}

function repliesOf(socket: Socket): Session {
  let buffered = ''
  let had = 0
  let wanted: { readonly count: number; readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined
  const fail = (error: Error): void => wanted?.reject(error)
  const look = (): void => {
    if (wanted === undefined || had < wanted.count) return
    had -= wanted.count
    const { resolve } = wanted
    wanted = undefined
    resolve()
  }
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the connection must stay open, was closed')))
  socket.on('data', (chunk) => {
    const lines = (buffered + chunk.toString('latin1')).split('\r\n')
    buffered = lines.pop() ?? ''
    for (const line of lines) {
      if (line[3] !== ' ') continue
      if (!/^[23]/.test(line)) return fail(new Error(`a reply must be of success, was ${line}`))
      had++
    }
    look()
  })
  return {
    socket,
    replies: (count) =>
      new Promise((resolve, reject) => {
        wanted = { count, resolve, reject }
        look()
      }),
  }
}
