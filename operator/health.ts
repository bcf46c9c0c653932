import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'

/**
 * /livez, /readyz and /metrics on one port. Alive means that the loops and reflectors take steps: an API server that is away is no reason to be restarted, a loop
 * that is stuck is. Ready means that the caches have been filled once.
 */

export type Health = {
  /** What is stuck, in words; empty when nothing is. */
  stuck(): readonly string[]
  /** What is not there yet, in words; empty when ready. */
  missing(): readonly string[]
}

export type HealthServer = AsyncDisposable & { readonly port: number }

export async function openHealthServer(
  address: { readonly host: string | undefined; readonly port: number },
  health: Health,
  registry: Registry,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET') return answer(response, 405, 'GET must be used')
    if (path === '/livez') return verdict(response, health.stuck())
    if (path === '/readyz') return verdict(response, health.missing())
    if (path === '/metrics') return void scrape(response, registry)
    return answer(response, 404, 'there are /livez, /readyz and /metrics')
  })
  server.requestTimeout = 10_000
  server.maxConnections = 64
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: address.port, ...(address.host === undefined ? {} : { host: address.host }) }, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

function verdict(response: ServerResponse, complaints: readonly string[]): void {
  answer(response, complaints.length === 0 ? 200 : 503, complaints.length === 0 ? 'ok' : complaints.join('\n'))
}

async function scrape(response: ServerResponse, registry: Registry): Promise<void> {
  try {
    response.setHeader('content-type', registry.contentType)
    response.end(await registry.metrics())
  } catch (error) {
    answer(response, 500, error instanceof Error ? error.message : String(error))
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.end(`${text}\n`)
}
