import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { runCommand } from './command.ts'

/**
 * Two hosts on one cable: network namespaces of their own, without any uplink. Needs root. Each has lo and eth0, with 198.18.0.1 and fd00:18::1 on the
 * left and .2 and ::2 on the right; each is the
 * other's default route.
 */

export type Host = {
  readonly namespace: string
  /** `ip` in there, one command a line. */
  readonly ip: (...commands: readonly string[]) => Promise<void>
  /** What an `ip -json` command shows. */
  readonly show: (...args: readonly string[]) => Promise<readonly unknown[]>
  readonly spawn: (argv: readonly string[]) => ReturnType<typeof spawn>
}
export type Lan = AsyncDisposable & { readonly left: Host; readonly right: Host }

export async function openLan(): Promise<Lan> {
  const name = `mta-${randomBytes(4).toString('hex')}`
  const [left, right] = [openHost(`${name}-l`), openHost(`${name}-r`)]
  const hosts = [left, right]
  const lan = {
    left,
    right,
    [Symbol.asyncDispose]: async () => {
      for (const { namespace } of hosts) await runCommand(['ip', 'netns', 'del', namespace])
    },
  }
  for (const { namespace } of hosts) await runCommand(['ip', 'netns', 'add', namespace])
  await left.ip(`link add eth0 type veth peer name eth0 netns ${right.namespace}`)
  for (const [index, host] of hosts.entries()) {
    await host.ip(
      'link set lo up',
      // By hand, for what the kernel gives is not usable before a second has passed.
      'link set eth0 addrgenmode none up',
      `addr add fe80::${index + 1}/64 dev eth0 nodad`,
      `addr add 198.18.0.${index + 1}/24 dev eth0`,
      `addr add fd00:18::${index + 1}/64 dev eth0 nodad`,
      `route add default via 198.18.0.${2 - index} dev eth0`,
      `route add ::/0 via fd00:18::${2 - index} dev eth0`,
    )
  }
  return lan
}

export const openHost = (namespace: string): Host => ({
  namespace,
  ip: async (...commands) => void (await runCommand(['ip', '-netns', namespace, '-batch', '-'], { input: commands.join('\n') })),
  show: async (...args) => JSON.parse(await runCommand(['ip', '-netns', namespace, '-json', ...args])) as unknown[],
  spawn: (argv) => spawn('ip', ['netns', 'exec', namespace, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] }),
})
