import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Arrival } from '#test/internet/arrival.ts'
import type { BehaviourInput } from '#test/internet/behaviour.ts'
import type { Accepted } from '#test/internet/load.ts'
import type { Host } from '#test/support/lan.ts'
import type { FromHub, ToHub } from './mail-hub.ts'

/** What runs in the network namespaces of a test beside the agents: address holders, the rest of the world, the way to the API server. */

const HOLDER = fileURLToPath(new URL('../../mta-agent/address-holder/main.ts', import.meta.url))
const HUB = fileURLToPath(new URL('mail-hub.ts', import.meta.url))
const RELAY = fileURLToPath(new URL('relay.ts', import.meta.url))

export type Running = AsyncDisposable & { kill(signal: NodeJS.Signals): void; readonly exited: Promise<unknown> }

export async function openHolder(host: Host, socket: string): Promise<Running> {
  const child = host.spawn([process.execPath, HOLDER, '--socket', socket])
  await lineWith(child, '"msg":"ready"')
  return running(child)
}

/** The API server of this kubeconfig, at the same port of the host's loopback. */
export async function openRelay(host: Host, kubeconfig: string, socket: string): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const port = /https:\/\/127\.0\.0\.1:(\d+)/.exec(readFileSync(kubeconfig, 'utf8'))?.[1]
  if (port === undefined) throw new Error(`${kubeconfig} must name a server on 127.0.0.1, did not`)
  const server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port: Number(port) })
    const end = (): void => {
      client.destroy()
      upstream.destroy()
    }
    for (const one of [client, upstream]) one.on('error', end).on('close', end)
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(socket, resolve))
  stack.defer(() => new Promise<void>((resolve) => server.close(() => resolve())))
  const child = host.spawn([process.execPath, RELAY, port, socket])
  stack.use(running(child))
  await lineWith(child, 'ready')
  return stack.move()
}

export type MailHub = AsyncDisposable & {
  readonly port: number
  arrivals(): readonly Arrival[]
  /** Transactions that were begun. */
  beginnings(): number
  /** Resolves when all of it is accepted. */
  submit(submission: ToHub['submit']): Promise<readonly Accepted[]>
}

export async function openMailHub(host: Host, address: string, behaviour: BehaviourInput = {}): Promise<MailHub> {
  const arrivals: Arrival[] = []
  let begun = 0
  const waiting = new Map<string, (accepted: readonly Accepted[]) => void>()
  const listening = Promise.withResolvers<number>()
  const child = spawn('ip', ['netns', 'exec', host.namespace, process.execPath, HUB, address, JSON.stringify(behaviour)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  child.once('exit', (code) => listening.reject(new Error(`the hub must run, ended with ${code}`)))
  child.on('message', (message: FromHub) => {
    if (message.kind === 'listening') listening.resolve(message.port)
    else if (message.kind === 'begun') begun = message.count
    else if (message.kind === 'arrived') arrivals.push(message.arrival)
    else waiting.get(message.run)?.(message.accepted)
  })
  const port = await listening.promise
  return {
    port,
    arrivals: () => arrivals.filter(({ outcome }) => outcome === 'arrived'),
    beginnings: () => begun,
    submit: (submission) =>
      new Promise((resolve) => {
        waiting.set(submission.run, resolve)
        child.send({ submit: submission } satisfies ToHub)
      }),
    [Symbol.asyncDispose]: () => running(child)[Symbol.asyncDispose](),
  }
}

function running(child: ChildProcess): Running {
  const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve()
  return {
    kill: (signal) => void child.kill(signal),
    exited,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function lineWith(child: ChildProcess, text: string): Promise<void> {
  const lines = createInterface(child.stdout!)
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => line.includes(text) && resolve())
    child.once('exit', (code) => reject(new Error(`a process must say ${text}, ended with ${code}`)))
  })
}
