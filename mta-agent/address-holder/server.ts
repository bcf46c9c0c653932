import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import type { Holder } from './holder.ts'
import { onLines } from './lines.ts'
import type { Millis } from './lifetimes.ts'
import type { HolderLog } from './log.ts'
import { type Greeting, LONGEST_LINE, parseRequest, type Reply, type Request, VERSION } from './protocol.ts'

/**
 * The holder's socket. One agent at a time: whoever is connected has the addresses, and when it is gone they are. So an agent that was killed
 * leaves none behind, and its successor begins with none.
 */

/** The owner and its group, which is the agent's. */
const SOCKET_MODE = 0o660
/** More than an agent ever has under way. */
const MOST_UNDER_WAY = 16

export type HolderServer = {
  /** No more agents; resolves when the one that is connected has gone and its addresses with it. */
  readonly close: () => Promise<void>
}

type Parts = { readonly path: string; readonly holder: Holder; readonly clock: () => Millis; readonly log: HolderLog }

export async function openServer(parts: Parts): Promise<HolderServer> {
  let agent: Promise<void> | undefined
  const server = createServer((socket) => {
    if (agent) return refuse(socket, 'another agent is connected')
    agent = serve(socket, parts)
      .catch((error: unknown) => parts.log.error('addresses could not be removed after the agent had gone', { error }))
      .finally(() => (agent = undefined))
  })
  await rm(parts.path, { force: true })
  await listen(server, parts.path)
  return {
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      await Promise.all([closed, agent])
    },
  }
}

async function listen(server: Server, path: string): Promise<void> {
  const listening = once(server, 'listening')
  server.listen(path)
  await listening
  await chmod(path, SOCKET_MODE)
}

async function serve(socket: Socket, { holder, clock, log }: Parts): Promise<void> {
  log.info('agent connected', {})
  let underWay = 0
  const tell = (message: Greeting | Reply) => void (socket.writable && socket.write(`${JSON.stringify(message)}\n`))
  socket.on('error', (error) => log.warn('connection to the agent broke', { error }))
  onLines(socket, LONGEST_LINE, (line) => {
    const request = parseRequest(line)
    if (underWay >= MOST_UNDER_WAY) return tell({ id: request.id, error: `at most ${MOST_UNDER_WAY} requests at a time` })
    underWay++
    void answer(holder, request, log)
      .then(tell)
      .finally(() => underWay--)
  })
  tell({ version: VERSION, clock: clock() })
  // Not `once`, which throws for an error that comes first.
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await holder.remove()
  log.info('agent gone, addresses removed', {})
}

async function answer(holder: Holder, request: Request, log: HolderLog): Promise<Reply> {
  const { id } = request
  try {
    const attachment = await perform(holder, request)
    if (request.ask !== 'extend' || attachment.refused.length > 0) log.info(request.ask, attachment)
    return { id, ...attachment }
  } catch (error) {
    log.error('a request failed', { ask: request.ask, error })
    return { id, error: error instanceof Error ? error.message : String(error) }
  }
}

async function perform(holder: Holder, request: Request) {
  switch (request.ask) {
    case 'attach':
      return holder.attach(request.addresses, request.deadline)
    case 'extend':
      return holder.extend(request.deadline)
    case 'remove':
      await holder.remove(request.addresses)
      return { held: [], refused: [] }
    default:
      throw new Error(request satisfies never)
  }
}

function refuse(socket: Socket, error: string): void {
  socket.on('error', () => {})
  socket.end(`${JSON.stringify({ error } satisfies Reply)}\n`)
}
