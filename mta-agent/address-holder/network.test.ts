import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test, vi } from 'vitest'
import { temporaryDirectory } from '#test/builders/queue.ts'
import { type Host, openLan } from '#test/support/lan.ts'
import { waitFor } from '#test/support/wait.ts'
import { HolderClient } from './client.ts'
import { monotonicMillis as now } from './clock.ts'
import { KERNEL_LATE } from './lifetimes.ts'

/** The real process, the real kernel, and a neighbour at the other end of a cable. Needs root, iproute2, iputils-arping and libndp-tools. */

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const A = '198.18.1.7'
const A6 = 'fd00:19::7'
const B = '198.18.1.8'
const BOTH = [{ address: A }, { address: A6 }]
const SOON = { withinMillis: 10_000, everyMillis: 5 }
/** Of tests that run beside each other on a busy machine; how late things are is measured elsewhere (README.md). */
const SLACK = 1_000
vi.setConfig({ testTimeout: 30_000 })

async function openSetting() {
  await using stack = new AsyncDisposableStack()
  const { left, right } = stack.use(await openLan())
  const socket = join(stack.use(temporaryDirectory()).path, 'holder.sock')
  const holder = stack.use(await openHolder(left, socket))
  const client = stack.use(new HolderClient({ path: socket, clock: now }))
  const kept = stack.move()
  return { left, right, socket, holder, client, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

async function openHolder(host: Host, socket: string) {
  const child = host.spawn([process.execPath, MAIN, '--socket', socket])
  const exited = once(child, 'exit')
  const lines = createInterface(child.stdout!)
  await new Promise<void>((resolve) => lines.on('line', (line) => line.includes('"msg":"ready"') && resolve()))
  const kill = (signal: NodeJS.Signals) => child.kill(signal)
  const stop = async () => {
    kill('SIGKILL')
    await exited
  }
  return { pid: child.pid!, kill, exited, [Symbol.asyncDispose]: stop }
}

type Shown = { readonly addr_info: readonly { readonly local: string; readonly scope: string }[] }

async function managed(host: Host): Promise<string[]> {
  const [link] = (await host.show('addr', 'show', 'dev', 'eth0')) as readonly Shown[]
  return link!.addr_info.flatMap(({ local, scope }) => (scope === 'global' && !/^198\.18\.0\.|^fd00:18::/.test(local) ? [local] : []))
}

const gone = (host: Host) => waitFor('the addresses to be gone', async () => (await managed(host)).length === 0, SOON)

test.concurrent('both families are attached, announced to a neighbour that knew them elsewhere, extended, and gone when the agent says so', async () => {
  await using setting = await openSetting()
  const { left, right, client } = setting
  const elsewhere = '02:00:00:00:00:01'
  await right.ip(...[A, A6].map((address) => `neigh replace ${address} dev eth0 lladdr ${elsewhere} nud stale`))
  expect(await client.attach(BOTH, now() + 9_900)).toEqual({ held: [A, A6], refused: [] })
  expect(await managed(left)).toEqual([A, A6])
  const [{ address: linkAddress }] = (await left.show('link', 'show', 'dev', 'eth0')) as [{ address: string }]
  await waitFor(
    'the neighbour to have learned',
    async () => {
      const known = (await right.show('neigh', 'show', 'nud', 'all')) as { dst: string; lladdr?: string }[]
      return [A, A6].every((address) => known.some(({ dst, lladdr }) => dst === address && lladdr === linkAddress))
    },
    SOON,
  )
  expect(await client.extend(now() + 9_900)).toEqual({ held: [A, A6], refused: [] })
  await client.remove()
  expect([await managed(left), await client.extend(now() + 9_900)]).toEqual([[], { held: [], refused: [] }])
})

test.concurrent('a holder that hangs: the kernel drops all by the deadline, and a second and a quarter', async () => {
  await using setting = await openSetting()
  const { left, holder, client } = setting
  const deadline = now() + 3_400
  expect(await client.attach(BOTH, deadline)).toMatchObject({ held: [A, A6] })
  holder.kill('SIGSTOP')
  await gone(left)
  expect(now()).toBeLessThan(deadline + KERNEL_LATE + SLACK)
})

test.concurrent('an agent that hangs: the holder removes them at the deadline', async () => {
  await using setting = await openSetting()
  const deadline = now() + 3_400
  expect(await setting.client.attach(BOTH, deadline)).toMatchObject({ held: [A, A6] })
  await gone(setting.left)
  expect(now()).toBeLessThan(deadline + SLACK)
})

test.concurrent('an agent that ends leaves nothing behind', async () => {
  await using setting = await openSetting()
  await setting.client.attach(BOTH, now() + 9_900)
  const ended = now()
  setting.client[Symbol.dispose]()
  await gone(setting.left)
  expect(now() - ended).toBeLessThan(1_000)
})

test.concurrent('a holder that was killed: its addresses are removed by the next one, when the agent says so', async () => {
  await using setting = await openSetting()
  const { left, holder, client, socket } = setting
  await client.attach(BOTH, now() + 9_900)
  holder.kill('SIGKILL')
  await holder.exited
  await expect(client.extend(now() + 9_900)).rejects.toThrow(expect.objectContaining({ name: 'HolderGone' }))
  await expect(client.remove()).rejects.toThrow(expect.objectContaining({ name: 'AddressesUncertain' }))
  await using _next = await openHolder(left, socket)
  expect(await managed(left)).toEqual([A, A6])
  await client.remove()
  expect(await managed(left)).toEqual([])
})

test.concurrent('the next holder takes over what is still there', async () => {
  await using setting = await openSetting()
  const { left, holder, client, socket } = setting
  await client.attach(BOTH, now() + 9_900)
  holder.kill('SIGKILL')
  await holder.exited
  await left.ip(`neigh flush to ${A} dev eth0`)
  await using _next = await openHolder(left, socket)
  await waitFor('the connection to be noticed', () => client.extend(now() + 9_900), SOON)
  expect(await client.attach(BOTH, now() + 9_900)).toEqual({ held: [A, A6], refused: [] })
  expect(await managed(left)).toEqual([A, A6])
  // Nobody was asked a second time: it is our own.
  expect(await left.show('neigh', 'show', 'nud', 'all', 'to', A)).toEqual([])
})

test.concurrent('SIGTERM: goes on while its agent is there, then removes and ends well', async () => {
  await using setting = await openSetting()
  const { left, holder, client } = setting
  await client.attach(BOTH, now() + 9_900)
  holder.kill('SIGTERM')
  expect(await client.extend(now() + 9_900)).toEqual({ held: [A, A6], refused: [] })
  client[Symbol.dispose]()
  expect(await holder.exited).toEqual([0, null])
  expect(await managed(left)).toEqual([])
})

test.concurrent('what another machine answers for is refused, in both families; the rest is attached', async () => {
  await using setting = await openSetting()
  const { left, right, client } = setting
  await right.ip(`addr add ${A}/32 dev eth0`, `addr add ${A6}/128 dev eth0 nodad`)
  const { held, refused } = await client.attach([...BOTH, { address: B }], now() + 9_900)
  expect([held, refused.map(({ address, reason }) => `${address} ${reason}`)]).toEqual([[B], [`${A} InUse`, `${A6} InUse`]])
  expect(await managed(left)).toEqual([B])
})

test.concurrent("the administrator's addresses are never touched", async () => {
  await using setting = await openSetting()
  const { left, client } = setting
  await left.ip(`addr add ${A}/32 dev eth0`)
  expect(await client.attach([{ address: A }], now() + 9_900)).toMatchObject({ held: [], refused: [{ reason: 'AlreadyThere' }] })
  await client.remove()
  expect(await managed(left)).toEqual([A])
})

test.concurrent('an interface that is made anew in between is found again', async () => {
  await using setting = await openSetting()
  const { left, right, client } = setting
  await client.attach([{ address: A }], now() + 9_900)
  await left.ip(
    'link del eth0',
    `link add eth0 type veth peer name eth0 netns ${right.namespace}`,
    'link set eth0 up',
    'addr add 198.18.0.1/24 dev eth0',
  )
  await right.ip('link set eth0 up')
  const lost = await waitFor('the loss to be told', async () => {
    const answer = await client.extend(now() + 9_900)
    return answer.held.length === 0 && answer
  })
  expect([lost, await client.attach([{ address: A, interface: 'eth0' }], now() + 9_900)]).toMatchObject([
    { refused: [{ address: A, reason: 'Failed' }] },
    { held: [A] },
  ])
})

test.concurrent('an `ip` that hangs is given up: an error, and nothing is held', async () => {
  await using setting = await openSetting()
  const { left, holder, client } = setting
  await client.attach(BOTH, now() + 6_900)
  const children = execFileSync('pgrep', ['--parent', String(holder.pid), '--exact', 'ip'], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number)
  for (const pid of children) process.kill(pid, 'SIGSTOP')
  await expect(client.extend(now() + 9_900)).rejects.toThrow('ip gave no answer in 1000 ms')
  expect([children.length, await managed(left)]).toEqual([1, []])
  expect(await client.attach(BOTH, now() + 9_900)).toEqual({ held: [A, A6], refused: [] })
})

test.concurrent('a second agent is refused, and the first keeps what it has', async () => {
  await using setting = await openSetting()
  const { left, client } = setting
  await client.attach(BOTH, now() + 9_900)
  using second = new HolderClient({ path: setting.socket, clock: now })
  await expect(second.attach([{ address: B }], now() + 9_900)).rejects.toThrow('another agent is connected')
  expect(await managed(left)).toEqual([A, A6])
})

test.concurrent('an address that was removed and is held by another Pod of the node since is left alone', async () => {
  await using setting = await openSetting()
  const { left, client } = setting
  await client.attach(BOTH, now() + 9_900)
  await client.remove()
  using directory = temporaryDirectory()
  const socket = join(directory.path, 'holder.sock')
  await using _other = await openHolder(left, socket)
  using heir = new HolderClient({ path: socket, clock: now })
  await heir.attach(BOTH, now() + 9_900)
  await client.remove()
  expect(await managed(left)).toEqual([A, A6])
})

test.concurrent('a clock that is not ours is noticed before anything is held by it', async () => {
  await using setting = await openSetting()
  using stranger = new HolderClient({ path: setting.socket, clock: () => now() - 60_000 })
  await expect(stranger.attach(BOTH, now() + 9_900)).rejects.toThrow("the holder's clock must be between")
})
