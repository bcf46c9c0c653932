/** `npm run cluster -- …`: reads the words, calls cluster.ts, says what went wrong in one sentence. */
import { dirname } from 'node:path'
import { binary } from './binaries.ts'
import {
  clusterDown,
  clusterStatus,
  clusterUp,
  cut,
  cutBetween,
  cutFromApi,
  heal,
  healBetween,
  healFromApi,
  kubeconfigPath,
  loadImage,
  powerOff,
  powerOn,
  recycle,
} from './cluster.ts'
import { type Command, type LinkCommand, type NodeCommand, parseCommand } from './command.ts'
import { kubectl } from './world-processes.ts'

const ON_NODE: Readonly<Record<NodeCommand['kind'], (node: string, signal: AbortSignal) => Promise<void>>> = {
  'power-off': powerOff,
  'power-on': (node, signal) => powerOn(node, { signal }),
  cut,
  heal,
  'cut-from-api': cutFromApi,
  'heal-from-api': healFromApi,
}

const ON_LINK: Readonly<Record<LinkCommand['kind'], (node: string, other: string) => Promise<void>>> = {
  'cut-between': cutBetween,
  'heal-between': healBetween,
}

async function main(command: Command, signal: AbortSignal): Promise<void> {
  if ('node' in command) return await ON_NODE[command.kind](command.node, signal)
  if ('nodes' in command) return await ON_LINK[command.kind](...command.nodes)
  switch (command.kind) {
    case 'help':
      return print(command.text)
    case 'up':
      return await clusterUp({ ...command.size, signal })
    case 'down':
      return await clusterDown()
    case 'status':
      return await printStatus()
    case 'env':
      return print(`export KUBECONFIG=${kubeconfigPath()}\nexport PATH=${dirname(binary('kubectl'))}:$PATH`)
    case 'recycle':
      return print(JSON.stringify(await recycle()))
    case 'load':
      return await loadImage(command.tar, signal)
  }
}

async function printStatus(): Promise<void> {
  const status = await clusterStatus()
  if (!status.size) {
    print(`there is no cluster in ${status.folder}`)
    for (const leftover of status.leftovers) print(`left behind: ${leftover}`)
    return
  }
  for (const [name, state] of Object.entries({ ...status.processes, ...status.nodes })) print(`${name.padEnd(24)} ${state}`)
  if (status.processes['kube-apiserver'] === 'running')
    print(await kubectl(['get', 'nodes,persistentvolumes', '-L', 'topology.kubernetes.io/zone', '--request-timeout=5s']))
}

function print(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n`)
}

const interrupted = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort(new Error(`interrupted by ${name}`)))
try {
  await main(parseCommand(process.argv.slice(2)), interrupted.signal)
} catch (error) {
  // What failed after an interruption failed because of it.
  const cause: unknown = interrupted.signal.aborted ? interrupted.signal.reason : error
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`)
  process.exitCode = 1
}
