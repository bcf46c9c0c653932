import { once } from 'node:events'
import { createWriteStream, rmSync, type WriteStream, writeFileSync } from 'node:fs'
import type { ChildProcess } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { connect } from 'node:net'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Arrival } from './arrival.ts'
import { addressOf, addressV6Of, DNS_HOST, hostNamesOf, type ProviderPlan, PROVIDERS } from './catalogue.ts'
import { aYearFrom, type Authority, createAuthority, issueCertificate } from './certificates.ts'
import { openControl } from './control.ts'
import { openSilentDns, startDns } from './dns-server.ts'
import { startPostfix } from './postfix.ts'
import { openProvider, type Provider } from './provider.ts'
import { arrivalsFile, authorityFile, controlSocket } from './state.ts'

/**
 * The process that is the small internet: started by `main.ts up` in the namespace, it opens everything in order and closes it in reverse on
 * SIGTERM. When a part that must be there ends (the name server, Postfix), it ends too, and says so: half an internet proves nothing.
 */
async function main(): Promise<void> {
  const stop = Promise.withResolvers<string>()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.resolve(name))

  await using stack = new AsyncDisposableStack()
  const authority = createAuthority('mtafleet test internet', new Date())
  writeFileSync(authorityFile(), authority.certificate)
  const book = createWriteStream(arrivalsFile(), { flags: 'w' })
  stack.defer(async () => await finished(book.end()))

  stack.use(await openSilentDns())
  const dns = startDns()
  watch('nsd', dns, stop.resolve)
  stack.defer(async () => await end(dns))

  const providers: Provider[] = []
  for (const plan of PROVIDERS) providers.push(stack.use(await openPlanned(plan, authority, book)))
  for (const plan of PROVIDERS.filter(({ software }) => software === 'postfix')) {
    const recorder = providers.find(({ name }) => name === plan.name)!
    const keys = issueCertificate(authority, { names: [hostNamesOf(plan)[0]!.name], ...aYearFrom(new Date()) })
    const postfix = startPostfix(plan, recorder.port, keys)
    watch('postfix', postfix, stop.resolve)
    stack.defer(async () => await end(postfix))
    await unlessStopped(stop.promise, (signal) => untilGreeted(addressOf(plan.hosts[0]), signal))
  }
  await unlessStopped(stop.promise, untilAnswered)

  rmSync(controlSocket(), { force: true })
  stack.use(await openControl(controlSocket(), providers, dns))
  log('ready', { providers: providers.length })
  log('ending', { because: await stop.promise })
}

async function openPlanned(plan: ProviderPlan, authority: Authority, book: WriteStream): Promise<Provider> {
  const [first, ...rest] = plan.hosts.flatMap((host) => [addressOf(host), addressV6Of(host)])
  const postfix = plan.software === 'postfix'
  return await openProvider({
    name: plan.name,
    ...(postfix ? { protocol: 'lmtp' as const } : { addresses: [first!, ...rest] as const, port: 25 }),
    hostName: hostNamesOf(plan)[0]!.name,
    behaviour: plan.behaviour,
    authority,
    onArrival: (arrival: Arrival) => void book.write(`${JSON.stringify(arrival)}\n`),
  })
}

/** Rejects with the reason when a part ends, or somebody says stop, before `wait` is over. */
async function unlessStopped(stopped: Promise<string>, wait: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController()
  try {
    await Promise.race([
      wait(controller.signal),
      stopped.then((because) => {
        throw new Error(`not up: ${because}`)
      }),
    ])
  } finally {
    controller.abort()
  }
}

/** Up means up: a scenario must not be the first to find that a part of it still starts. */
async function untilGreeted(address: string, signal: AbortSignal): Promise<void> {
  const greeted = async (): Promise<boolean> => {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const socket = connect({ host: address, port: 25 })
    socket.once('data', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.setTimeout(5000, () => resolve(false))
    return await promise.finally(() => socket.destroy())
  }
  while (!signal.aborted && !(await greeted())) await sleep(50)
}

async function untilAnswered(signal: AbortSignal): Promise<void> {
  const resolver = new Resolver({ timeout: 250, tries: 1 })
  resolver.setServers([addressOf(DNS_HOST)])
  const answered = async (): Promise<boolean> =>
    await resolver.resolve4('ns.example').then(
      () => true,
      () => false,
    )
  while (!signal.aborted && !(await answered())) await sleep(50)
}

/** One that ends before it was asked to takes the whole down. */
function watch(name: string, child: ChildProcess, ended: (because: string) => void): void {
  child.once('error', (error) => ended(`${name} could not be started: ${error.message}`))
  child.once('exit', (status, signal) => ended(`${name} ended with ${signal ?? `status ${status}`}`))
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const exit = once(child, 'exit')
  child.kill('SIGCONT')
  child.kill('SIGTERM')
  await exit
}

const log = (message: string, fields: object): void =>
  void process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), message, ...fields })}\n`)

main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).stack}\n`)
  process.exitCode = 1
})
