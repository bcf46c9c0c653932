import { readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * A TCP proxy on loopback in front of a server, for tests: it counts connections and can cut them. TLS passes through it untouched, so what is
 * behind it is still proven by its certificate.
 */
export type TcpProxy = AsyncDisposable & {
  readonly port: number
  /** Connections accepted so far. */
  readonly accepted: number
  /** Connections open now. */
  readonly open: number
  /** Breaks every connection; new ones are closed at once. */
  cut(): void
  /** Lets connections through again. */
  heal(): void
}

/** A port that changes, of a server that starts anew, is asked for with each connection. */
export async function openTcpProxy(target: { readonly host: string; readonly port: number | (() => number) }): Promise<TcpProxy> {
  const pairs = new Set<Socket>()
  let [accepted, whole] = [0, true]
  const server = createServer((client) => {
    if (!whole) return void client.destroy()
    accepted += 1
    const port = typeof target.port === 'number' ? target.port : target.port()
    const upstream = connect({ host: target.host, port })
    pairs.add(client)
    const end = () => {
      pairs.delete(client)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const breakAll = () => {
    for (const socket of pairs) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    get accepted() {
      return accepted
    },
    get open() {
      return pairs.size
    },
    cut: () => {
      whole = false
      breakAll()
    },
    heal: () => {
      whole = true
    },
    [Symbol.asyncDispose]: async () => {
      breakAll()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A copy of a kubeconfig whose server is the proxy; returns its path. */
export function kubeconfigThrough(proxy: TcpProxy, kubeconfig: string): string {
  const path = `${kubeconfig}.${proxy.port}`
  writeFileSync(path, readFileSync(kubeconfig, 'utf8').replace(/(server"?:\s*"?https:\/\/127\.0\.0\.1:)\d+/, `$1${proxy.port}`), {
    mode: 0o600,
  })
  return path
}
