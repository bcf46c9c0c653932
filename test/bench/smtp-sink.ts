import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'

/** A mail host that takes everything and keeps nothing but the count, in a process of its own: `node test/bench/smtp-sink.ts`. */

export type Sink = AsyncDisposable & {
  readonly pid: number
  readonly port: number
  /** How many messages have come since it was opened. */
  taken(): Promise<number>
}

export async function openSink(): Promise<Sink> {
  const child = fork(import.meta.filename, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const [port] = (await once(child, 'message')) as [number]
  return {
    pid: child.pid!,
    port,
    taken: async () => {
      const answer = once(child, 'message') as Promise<[number]>
      child.send('taken')
      return (await answer)[0]
    },
    [Symbol.asyncDispose]: () => end(child),
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

const END_OF_DATA = Buffer.from('\r\n.\r\n')

function serve(socket: Socket, onTaken: () => void): void {
  let state: 'commands' | 'content' = 'commands'
  let rest: Buffer = Buffer.alloc(0)
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.write('220 sink.example ESMTP\r\n')
  socket.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let replies = ''
    for (;;) {
      if (state === 'content') {
        const end = rest.indexOf(END_OF_DATA)
        if (end < 0) {
          rest = rest.subarray(Math.max(0, rest.length - END_OF_DATA.length + 1))
          break
        }
        rest = rest.subarray(end + END_OF_DATA.length)
        state = 'commands'
        onTaken()
        replies += '250 2.0.0 taken\r\n'
        continue
      }
      const end = rest.indexOf('\r\n')
      if (end < 0) break
      const verb = rest.toString('latin1', 0, Math.min(end, 4)).toUpperCase()
      rest = rest.subarray(end + 2)
      if (verb === 'DATA') state = 'content'
      replies +=
        verb === 'DATA' ? '354 go on\r\n' : verb === 'EHLO' ? '250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n' : '250 ok\r\n'
    }
    if (replies !== '') socket.write(replies)
  })
}

if (process.send !== undefined && process.argv[1] === import.meta.filename) {
  let taken = 0
  const server = createServer((socket) => serve(socket, () => taken++))
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
  process.on('message', () => process.send?.(taken))
  process.on('disconnect', () => process.exit(0))
}
