import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { runCommand } from './command.ts'
import { type Host, openHost } from './lan.ts'

/**
 * Two nodes and one more host on a bridge, each a network namespace of its own, without any uplink. Needs root. Each node has eth0 with 198.18.0.1
 * or .2 (fd00:18::1 or ::2); the hub is the bridge itself, .9 and ::9.
 */
export type BridgedLan = AsyncDisposable & { readonly nodes: readonly [Host, Host]; readonly hub: Host }

export async function openBridgedLan(): Promise<BridgedLan> {
  const name = `mta-${randomBytes(4).toString('hex')}`
  const [hub, first, second] = [openHost(`${name}-h`), openHost(`${name}-1`), openHost(`${name}-2`)]
  const hosts = [hub, first, second]
  for (const { namespace } of hosts) await runCommand(['ip', 'netns', 'add', namespace])
  await hub.ip(
    'link set lo up',
    // Without snooping, what is announced reaches everybody at once.
    'link add br0 type bridge mcast_snooping 0',
    'link set br0 addrgenmode none up',
    ...ownAddresses('br0', 9),
  )
  for (const [index, node] of [first, second].entries()) {
    await hub.ip(`link add port${index} type veth peer name eth0 netns ${node.namespace}`, `link set port${index} master br0 up`)
    await node.ip('link set lo up', 'link set eth0 addrgenmode none up', ...ownAddresses('eth0', index + 1))
  }
  return {
    nodes: [first, second],
    hub,
    [Symbol.asyncDispose]: async () => {
      for (const { namespace } of hosts) await runCommand(['ip', 'netns', 'del', namespace])
    },
  }
}

const ownAddresses = (name: string, host: number): readonly string[] => [
  `addr add fe80::${host}/64 dev ${name} nodad`,
  `addr add 198.18.0.${host}/24 dev ${name}`,
  `addr add fd00:18::${host}/64 dev ${name} nodad`,
]

/** From when until when, by the wall clock, an address was on a host; Infinity: it still is. */
export type Stay = { readonly host: string; readonly address: string; readonly from: number; readonly until: number }

/** What the kernel itself tells of addresses that come and go, on all hosts by one clock. */
export type AddressWatch = Disposable & { stays(address: string): readonly Stay[] }

export async function watchAddresses(hosts: readonly Host[]): Promise<AddressWatch> {
  const stays: Stay[] = []
  const watchers = hosts.map((host) => {
    const child = spawn('ip', ['-netns', host.namespace, '-ts', '-oneline', 'monitor', 'address'], { stdio: ['ignore', 'pipe', 'inherit'] })
    createInterface({ input: child.stdout }).on('line', (line) => note(stays, host.namespace, line))
    return child
  })
  // A monitor listens when it tells of a change.
  const mark = '198.18.99.1'
  while (!hosts.every(({ namespace }) => stays.some((stay) => stay.host === namespace && stay.address === mark))) {
    for (const host of hosts) await host.ip(`addr replace ${mark}/32 dev lo`)
  }
  return {
    stays: (address) => stays.filter((stay) => stay.address === address),
    [Symbol.dispose]: () => watchers.forEach((child) => child.kill()),
  }
}

const EVENT = /^\[(?<at>[^\]]+)\] (?<deleted>Deleted )?\d+: \S+ +inet6? (?<address>[^/ ]+)/

/** A refreshed lifetime is told like a new address. */
function note(stays: Stay[], host: string, line: string): void {
  const { at = '', deleted, address } = EVENT.exec(line)?.groups ?? {}
  if (address === undefined) return
  // The clock of this machine, which names no zone here.
  const when = new Date(at).getTime()
  const open = stays.findIndex((stay) => stay.host === host && stay.address === address && stay.until === Infinity)
  if (deleted === undefined && open === -1) stays.push({ host, address, from: when, until: Infinity })
  const stay = stays[open]
  if (deleted !== undefined && stay !== undefined) stays[open] = { ...stay, until: when }
}
