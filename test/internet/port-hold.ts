import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'

/**
 * Keeps a port on which nothing listens from being given to anybody who asks for a free one: mail for it would go astray, to whatever test
 * listens there meanwhile. The port is the local one of a connection to ourselves, so who dials it is still refused, and who was given it
 * before may listen on it again.
 */
export async function holdPort(address: string, port: number): Promise<AsyncDisposable> {
  const server = createServer((socket) => void socket.on('error', () => socket.destroy())).listen({ host: address, port: 0 })
  const ended = once(server, 'close')
  await once(server, 'listening')
  const socket = connect({ host: address, port: (server.address() as AddressInfo).port, localAddress: address, localPort: port })
  const release = async (): Promise<void> => {
    // A connection that ends in peace would keep the port for another minute.
    socket.resetAndDestroy()
    server.close()
    await ended
  }
  try {
    await once(socket, 'connect')
  } catch (error) {
    await release()
    throw new Error(`the port ${address}:${port} must be free to be held`, { cause: error })
  }
  return { [Symbol.asyncDispose]: release }
}
