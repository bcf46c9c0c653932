import { portsOf } from '#crds/mta-instance.ts'
import { readFile } from 'node:fs/promises'
import { must, mustEqual, type Scenario } from './scenario.ts'
import { residentMiB } from './processes.ts'

export const scenario: Scenario = {
  name: 'neighbours',
  promise: 'two streams on one node share neither port, address, user nor process rights; nothing but submission listens beyond the node',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    await stage.deploy('left', { nodes: [1], addressesOf: [1, 2] })
    await stage.deploy('right', { nodes: [1], addressesOf: [3, 4] })
    const loads = await Promise.all(
      ['left', 'right'].map((name) => stage.load(name, { count: 300, connections: 4, domains: stage.internet.friendlyDomains })),
    )
    let arrived = 0
    // Each comparison knows only the stream's own addresses: one message from a neighbour's address fails it.
    for (const [index, name] of (['left', 'right'] as const).entries()) {
      const verdict = await stage.allArrived(name, await loads[index]!.finished(), { alone: true })
      mustEqual(`duplicates of ${name}`, verdict.duplicated, 0)
      arrived += verdict.arrived
    }

    const instances = (await Promise.all(['left', 'right'].map((name) => stage.instances(name)))).flat()
    const ports = instances.flatMap(({ spec }) => portsOf(spec.ports))
    mustEqual('ports used twice on the node', ports.length - new Set(ports).size, 0)
    const listening = listeners(await faults.nodeExec(1, ['ss', '-Hltn']))
    const exposed = ports.filter((port) => listening.some((one) => one.port === port && !isLoopback(one.address)))
    mustEqual(
      'ports of agents that other machines reach',
      exposed.toSorted(ascending),
      instances.flatMap(({ spec }) => [spec.ports.submission, spec.ports.submissions]).toSorted(ascending),
    )
    mustEqual(
      'agents whose health and metrics are on loopback',
      instances.filter(({ spec }) => listening.some((one) => one.port === spec.ports.admin)).length,
      2,
    )

    const pids = await Promise.all(instances.map(({ metadata }) => stage.agentProcess(metadata.name)))
    for (const pid of pids) await mustBeHarmless(pid)
    return { arrived, ports: ports.length, agentMiB: Math.max(...(await Promise.all(pids.map(residentMiB)))) }
  },
}

const ascending = (a: number, b: number): number => a - b

type Listener = { readonly address: string; readonly port: number }

/** Lines of `ss -Hltn`: State Recv-Q Send-Q Local:Port Peer:Port. */
function listeners(text: string): Listener[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/)[3] ?? '')
    .filter((local) => local !== '')
    .map((local) => ({ address: local.slice(0, local.lastIndexOf(':')), port: Number(local.slice(local.lastIndexOf(':') + 1)) }))
}

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '[::1]'

/** Not root, no capability, no way to gain one, nothing to write to but the queue and a small scratch folder. */
async function mustBeHarmless(pid: number): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim()
  must(!field('Uid')?.split(/\s+/).includes('0'), `the agent must not run as root, was uid ${field('Uid')}`)
  mustEqual('effective capabilities of the agent', Number.parseInt(field('CapEff') ?? 'x', 16), 0)
  mustEqual('bounding capabilities of the agent', Number.parseInt(field('CapBnd') ?? 'x', 16), 0)
  mustEqual('NoNewPrivs of the agent', field('NoNewPrivs'), '1')
  const root = (await readFile(`/proc/${pid}/mounts`, 'utf8')).split('\n').find((line) => line.split(' ')[1] === '/')
  must(root?.split(' ')[3]?.split(',').includes('ro') === true, `the root file system of the agent must be read-only, was ${root}`)
}
