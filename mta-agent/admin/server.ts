import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { ADMIN_PATHS, type HealthReport, type QueueReport } from '../contract/admin-api.ts'

/** Serves contract/admin-api.ts. On loopback only, whatever the configuration says: nothing here asks who is calling. */

export type AdminPorts = {
  readonly live: () => HealthReport
  readonly ready: () => HealthReport
  readonly queue: () => QueueReport
  readonly metrics: Registry
}
export type AdminServer = AsyncDisposable & { readonly port: number }

const HOST = '127.0.0.1'

/** `port` 0: any free one. */
export async function openAdminServer(port: number, ports: AdminPorts): Promise<AdminServer> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    void respond(ports, request, response)
  })
  server.maxConnections = 64
  server.listen(port, HOST)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function respond(ports: AdminPorts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const [status, type, body] = await answer(ports, request)
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain' }).end(`${error instanceof Error ? error.message : String(error)}\n`)
  }
}

type Answer = readonly [status: number, type: string, body: string]

async function answer(ports: AdminPorts, request: IncomingMessage): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return [405, 'text/plain', 'must be GET\n']
  const path: string = request.url?.split('?', 1)[0] ?? ''
  switch (path) {
    case ADMIN_PATHS.live:
      return health(ports.live())
    case ADMIN_PATHS.ready:
      return health(ports.ready())
    case ADMIN_PATHS.queue:
      return [200, 'application/json', JSON.stringify(ports.queue())]
    case ADMIN_PATHS.metrics:
      return [200, ports.metrics.contentType, await ports.metrics.metrics()]
    default:
      return [404, 'text/plain', `must be one of ${Object.values(ADMIN_PATHS).join(', ')}\n`]
  }
}

const health = (report: HealthReport): Answer => [report.status === 'ok' ? 200 : 503, 'application/json', JSON.stringify(report)]
