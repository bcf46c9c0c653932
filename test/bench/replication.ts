import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { openShardOfAgents } from '#test/cluster/shard-of-agents.ts'
import { parseOptions, wholeNumber } from '#test/support/command-line.ts'
import { freePort } from '#test/support/free-port.ts'
import { waitFor } from '#test/support/wait.ts'
import { cpuMillisOf } from './cpu.ts'
import type { Bench } from './main.ts'
import { printRatios, printRound, type Round } from './print.ts'
import { load } from './smtp-load.ts'
import { openSink, type Sink } from './smtp-sink.ts'

/**
 * What a second copy costs: an agent alone and a pair with its standby in sync, real processes with real TLS and a real API server, loaded in turns
 * (alone, pair, pair, alone …). Both are up all the time; the one that is not loaded does next to nothing.
 */

export const REPLICATION: Bench = {
  name: 'replication',
  measures: 'messages/s that a pair accepts, as a share of what one agent alone accepts on the same machine',
  options: '[--rounds N] [--seconds N] [--connections N] [--bytes N,N] [--profile FOLDER] (of each process, node --cpu-prof)',
  run: async (args) => {
    const { values } = parseOptions({
      args: [...args],
      options: {
        rounds: { type: 'string', default: '4' },
        seconds: { type: 'string', default: '5' },
        connections: { type: 'string', default: '32' },
        bytes: { type: 'string', default: '4096,102400' },
        profile: { type: 'string' },
      },
    })
    await measure({
      rounds: wholeNumber('--rounds', values.rounds),
      forMillis: 1000 * wholeNumber('--seconds', values.seconds),
      connections: wholeNumber('--connections', values.connections),
      sizes: values.bytes.split(',').map((bytes) => wholeNumber('--bytes', bytes)),
      profile: values.profile,
    })
  },
}

type Plan = {
  readonly rounds: number
  readonly forMillis: number
  readonly connections: number
  readonly sizes: readonly number[]
  readonly profile: string | undefined
}

/** One that is loaded: where it takes mail, and its processes by what they do. */
type Candidate = { readonly name: Round['of']; readonly port: number; readonly pids: Readonly<Record<string, number>> }

async function measure(plan: Plan): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const sink = stack.use(await openSink())
  const starts = starter(stack, plan.profile)
  const alone = await openAlone(stack, sink, starts('alone'))
  const pair = await openPair(stack, sink, starts('pair'))
  for (const bytes of plan.sizes) {
    console.log(`\n${bytes} bytes, ${plan.connections} connections, ${plan.forMillis / 1000} s each`)
    // Compilers have to see the path once.
    for (const one of [alone, pair]) await runRound(one, sink, { ...plan, forMillis: 2_000 }, bytes)
    const rounds: Round[] = []
    for (let nth = 0; nth < plan.rounds; nth++) {
      for (const one of nth % 2 === 0 ? [alone, pair] : [pair, alone]) {
        const round = await runRound(one, sink, plan, bytes)
        rounds.push(round)
        printRound(round)
      }
    }
    printRatios(rounds)
  }
}

async function runRound({ name, port, pids }: Candidate, sink: Sink, { connections, forMillis }: Plan, bytes: number): Promise<Round> {
  const all = { ...pids, client: process.pid, sink: sink.pid }
  const before = await sink.taken()
  const cpuBefore = Object.values(all).map(cpuMillisOf)
  const began = performance.now()
  const loaded = await load({ port, connections, forMillis, bytes })
  await waitFor('all of it delivered', async () => (await sink.taken()) - before >= loaded.accepted, { everyMillis: 20 })
  const deliveredMillis = performance.now() - began
  const cpu = Object.keys(all).map((role, index) => [role, cpuMillisOf(Object.values(all)[index]!) - cpuBefore[index]!] as const)
  return { of: name, ...loaded, deliveredMillis, cpuMillis: Object.fromEntries(cpu) }
}

type Start = (argv: readonly string[]) => ChildProcess

/** Processes end with the measurement; profiles are written when they end well. */
function starter(stack: AsyncDisposableStack, profile: string | undefined): (what: string) => Start {
  return (what) => (argv) => {
    const [program, ...rest] = argv
    const options = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${join(profile, what)}`]
    const child = spawn(program!, [...options, ...rest], { stdio: ['ignore', 'ignore', 'inherit'] })
    stack.defer(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    })
    return child
  }
}

async function openAlone(stack: AsyncDisposableStack, sink: Sink, start: Start): Promise<Candidate> {
  const folder = mkdtempSync(join(tmpdir(), 'mtafleet-bench-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const example = parse(readFileSync(new URL('../../examples/agent-alone.yaml', import.meta.url), 'utf8')) as MTAInstance
  const port = await freePort()
  const document = {
    ...example,
    spec: {
      ...example.spec,
      ports: { submission: port, submissions: 0, admin: await freePort() },
      directories: { queue: join(folder, 'queue') },
      routes: [{ domain: '*', nextHop: { host: '127.0.0.1', port: sink.port } }],
    },
  }
  const path = join(folder, 'alone.yaml')
  writeFileSync(path, stringify(document))
  const child = start([process.execPath, new URL('../../mta-agent/main.ts', import.meta.url).pathname, '--config', path])
  await waitFor('the agent alone', async () => (await fetch(`http://127.0.0.1:${document.spec.ports.admin}/readyz`)).ok)
  return { name: 'alone', port, pids: { agent: child.pid! } }
}

async function openPair(stack: AsyncDisposableStack, sink: Sink, start: Start): Promise<Candidate> {
  const children: ChildProcess[] = []
  const spawnOne: Start = (argv) => {
    const child = start(argv)
    children.push(child)
    return child
  }
  const nextHop = { address: '127.0.0.1', port: sink.port }
  const shard = stack.use(await openShardOfAgents({ nextHop, timing: 'Default', durability: 'Strict', spawn: spawnOne }))
  const [a, b] = shard.agents
  a.start()
  await shard.createRecord(a)
  await waitFor('the primary', async () => (await a.status())?.role === 'Primary')
  b.start()
  await waitFor('the standby in sync', async () => (await a.status())?.inSync?.length === 2)
  // Ended before the shard, so that profiles are written.
  stack.defer(async () => {
    for (const child of children.toReversed()) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
  })
  return { name: 'pair', port: a.port, pids: { primary: children[0]!.pid!, standby: children[1]!.pid! } }
}
