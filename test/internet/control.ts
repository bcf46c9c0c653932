import type { ChildProcess } from 'node:child_process'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import type { Arrival, Beginning } from './arrival.ts'
import type { BehaviourInput } from './behaviour.ts'
import { codeOfInternet } from './code.ts'
import { type ArrivalFilter, filterArrivals, type Status } from './control-protocol.ts'
import type { Provider } from './provider.ts'

/**
 * The control socket of the small internet. Whoever may open it (root) may change any behaviour; nothing on the network reaches it.
 *
 *   GET    /status                           Status
 *   PUT    /providers/NAME/behaviour         the change; answers with the whole behaviour
 *   DELETE /providers/NAME/connections       cuts them
 *   GET    /arrivals?provider=…&outcome=…    an array of arrivals, in order of time
 *   GET    /count?…                          how many of them
 *   GET    /beginnings                       transactions that were begun, in order of time
 *   DELETE /arrivals                         and beginnings
 *   PUT    /dns                              "silent" or "answering"
 */
export async function openControl(path: string, providers: readonly Provider[], dns: ChildProcess | undefined): Promise<AsyncDisposable> {
  let dnsState: Status['dns'] = 'answering'
  const code = codeOfInternet()
  const routes: Readonly<Record<string, (request: IncomingMessage, url: URL) => Promise<unknown>>> = {
    'GET /status': async () => ({ pid: process.pid, code, providers: providers.map(statusOf), dns: dnsState }) satisfies Status,
    'GET /arrivals': async (_request, url) => arrivalsOf(providers, url),
    'GET /count': async (_request, url) => arrivalsOf(providers, url).length,
    'GET /beginnings': async () => providers.flatMap((provider) => provider.beginnings()).toSorted(byTime),
    'DELETE /arrivals': async () => {
      for (const provider of providers) provider.clearArrivals()
      return null
    },
    'PUT /providers/*/behaviour': async (request, url) => await named(providers, url).behave((await json(request)) as BehaviourInput),
    'DELETE /providers/*/connections': async (_request, url) => named(providers, url).closeConnections() ?? null,
    'PUT /dns': async (request) => {
      const wanted = parseDnsState(await json(request))
      if (dns === undefined) throw new RangeError('there is no name server here')
      dnsState = wanted
      dns.kill(dnsState === 'silent' ? 'SIGSTOP' : 'SIGCONT')
      return dnsState
    },
  }
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://internet')
    const route = routes[`${request.method} ${url.pathname.replace(/^\/providers\/[^/]+\//, '/providers/*/')}`]
    const answer =
      route === undefined ? Promise.reject(new RangeError(`no such request: ${request.method} ${url.pathname}`)) : route(request, url)
    answer.then(
      (value) => reply(response, 200, value),
      (error: unknown) => reply(response, error instanceof RangeError ? 400 : 500, { error: (error as Error).message }),
    )
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(path, resolve)
  await promise
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

const statusOf = (provider: Provider): Status['providers'][number] => ({
  name: provider.name,
  hostName: provider.hostName,
  addresses: provider.addresses,
  port: provider.port,
  behaviour: provider.behaviour(),
  counts: provider.counts(),
})

function named(providers: readonly Provider[], url: URL): Provider {
  const name = decodeURIComponent(url.pathname.split('/')[2] ?? '')
  const provider = providers.find((candidate) => candidate.name === name)
  if (provider === undefined)
    throw new RangeError(`no provider is called ${name}; there are ${providers.map((each) => each.name).join(', ')}`)
  return provider
}

function arrivalsOf(providers: readonly Provider[], url: URL): readonly Arrival[] {
  const filter = Object.fromEntries(url.searchParams) as ArrivalFilter
  const chosen = filter.provider === undefined ? providers : providers.filter(({ name }) => name === filter.provider)
  return chosen.flatMap((provider) => filterArrivals(provider.arrivals(), filter)).toSorted(byTime)
}

const byTime = (a: Pick<Beginning, 'at'>, b: Pick<Beginning, 'at'>): number => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)

function parseDnsState(value: unknown): Status['dns'] {
  if (value !== 'silent' && value !== 'answering') throw new RangeError(`dns must be "silent" or "answering", was ${JSON.stringify(value)}`)
  return value
}
