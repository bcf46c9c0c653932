import { rmSync } from 'node:fs'
import { openControl } from './control.ts'
import { openProvider } from './provider.ts'
import { controlSocket } from './state.ts'

/**
 * `node test/internet/sink.ts ADDRESS PORT`: one receiving provider that takes everything, as a program, for a Pod on a cluster that has no small
 * internet beside it. Its control socket is the same, so `main.ts arrived --json` and `behave sink …` work beside it. Ends on SIGTERM.
 */
async function main([address, port]: readonly string[]): Promise<void> {
  if (address === undefined || !/^[1-9]\d{0,4}$/.test(port ?? '')) {
    throw new Error(`an address and a port must be given, were ${JSON.stringify([address, port])}`)
  }
  const stop = Promise.withResolvers<void>()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.resolve())
  await using provider = await openProvider({ name: 'sink', addresses: [address], port: Number(port), behaviour: { tls: 'good' } })
  // That of a process before this one, in the same Pod.
  rmSync(controlSocket(), { force: true })
  await using _control = await openControl(controlSocket(), [provider], undefined)
  console.log(JSON.stringify({ msg: 'ready', address, port: provider.port }))
  await stop.promise
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`sink: ${(error as Error).message}\n`)
  process.exitCode = 1
})
