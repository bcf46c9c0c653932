import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { Wire, WireFailed } from './wire.ts'

/** A wire to a server that says `greeting` and no more. */
async function wireTo(greeting: string): Promise<AsyncDisposable & { readonly wire: Wire }> {
  const server = createServer((socket) => void socket.on('error', () => socket.destroy()).write(greeting)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const wire = await Wire.open({ address: '127.0.0.1', port, localAddress: '127.0.0.1' }, 5_000, new AbortController().signal)
  const close = async () => {
    wire.close()
    server.close()
    await once(server, 'close')
  }
  return { wire, [Symbol.asyncDispose]: close }
}

/** What the next reads come to, until they fail. */
async function readAll(wire: Wire): Promise<readonly string[]> {
  const said: string[] = []
  for (;;) {
    try {
      said.push((await wire.read(5_000)).text)
    } catch (error) {
      return [...said, String(error)]
    }
  }
}

test('what was stopped before it began fails as what is stopped while it connects', async () => {
  const target = { address: '127.0.0.1', port: 9, localAddress: '127.0.0.1' }
  await expect(Wire.open(target, 5_000, AbortSignal.abort())).rejects.toThrow(new WireFailed('STOPPED', 'stopped before connecting'))
})

test('as many replies as a pipelined group has may wait to be read', async () => {
  await using server = await wireTo('250 yes\r\n'.repeat(102) + '221 bye\r\n')
  await expect.poll(() => server.wire.isQuiet()).toBe(false)
  for (let count = 0; count < 102; count += 1) await server.wire.read(5_000)
  expect(await server.wire.read(5_000)).toMatchObject({ code: 221 })
})

test('a server that talks without being asked is left: its replies would fill memory', async () => {
  await using server = await wireTo('250 yes\r\n'.repeat(200))
  await expect.poll(() => server.wire.isQuiet()).toBe(false)
  const said = await readAll(server.wire)
  expect(said.at(-1)).toBe('WireFailed: more than 128 replies came at once')
})
