import { connect, createServer } from 'node:net'

/** `node test/replication/relay.ts PORT SOCKET`: loopback of this network namespace to a unix socket, which knows no namespaces. Says "ready". */

const [port, socketPath] = process.argv.slice(2)
if (port === undefined || socketPath === undefined) throw new Error('must be called with PORT SOCKET')

const server = createServer((client) => {
  const upstream = connect(socketPath)
  const end = (): void => {
    client.destroy()
    upstream.destroy()
  }
  for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  client.pipe(upstream).pipe(client)
})
server.listen(Number(port), '127.0.0.1', () => console.log('ready'))
