import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { temporaryDirectory } from '#test/builders/queue.ts'
import { type AgentProcess, startAgent } from '#test/conversations/agent-process.ts'
import { openHolder, openMailHub } from '#test/replication/nodes.ts'
import { type Host, openLan } from '#test/support/lan.ts'
import { waitFor } from '#test/support/wait.ts'

/** One agent without standbys on a node of its own, its address holder, the real kernel, and a provider at the other end of the cable. */

const A = '198.18.0.107'
const B = '198.18.0.108'
const HUB = '198.18.0.2'
vi.setConfig({ testTimeout: 60_000 })

async function openSetting(replyTakesMillis?: number) {
  await using stack = new AsyncDisposableStack()
  const { left: node, right } = stack.use(await openLan())
  const rules = replyTakesMillis === undefined ? [] : [{ at: 'rcpt', action: { do: 'delay', millis: replyTakesMillis } } as const]
  const hub = stack.use(await openMailHub(right, HUB, { rules }))
  const folder = stack.use(temporaryDirectory()).path
  const socket = join(folder, 'holder.sock')
  const holder = stack.use(await openHolder(node, socket))
  const agent = stack.use(
    startAgent({
      through: ['ip', 'netns', 'exec', node.namespace],
      change: ({ spec }) => {
        Object.assign(spec, { listenAddress: '198.18.0.1', addressAttachment: 'Managed', addresses: [source(A)] })
        Object.assign(spec.directories, { addressHolder: folder })
        spec.submission.allowedNetworks = ['198.18.0.0/16']
        spec.queue.retrySeconds = [1]
        spec.routes = [{ domain: '*', nextHop: { host: HUB, port: hub.port } }]
      },
    }),
  )
  const { ports } = (await agent.line('ready')) as unknown as { ports: { submission: number } }
  const submit = (run: string) => hub.submit({ run, host: '198.18.0.1', port: ports.submission, count: 1 })
  const resources = stack.move()
  return { node, right, hub, holder, agent, socket, submit, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

const source = (address: string) => ({ address, hostName: 'mta.example.com' })

const set = (agent: AgentProcess, ...addresses: readonly string[]): void => {
  agent.write(({ spec }) => void (spec.addresses = addresses.map(source)))
  agent.process.kill('SIGHUP')
}

type Shown = { readonly addr_info: readonly { readonly local: string }[] }

async function held(node: Host): Promise<string[]> {
  const [link] = (await node.show('addr', 'show', 'dev', 'eth0')) as readonly Shown[]
  return link!.addr_info.flatMap(({ local }) => ([A, B].includes(local) ? local : [])).toSorted()
}

const holds = (node: Host, ...addresses: readonly string[]) =>
  waitFor(`the node with ${addresses.join() || 'none'}`, async () => (await held(node)).join() === addresses.join(), { everyMillis: 10 })

const arrivesFrom = async (hub: { arrivals(): readonly { readonly sourceAddress: string }[] }, count: number) => {
  await waitFor(`${count} messages`, () => hub.arrivals().length === count, { everyMillis: 10 })
  return hub.arrivals().at(-1)?.sourceAddress
}

test.concurrent('mail leaves from an address that the agent brought, as long as it lives; a holder that is replaced gets it again', async () => {
  await using setting = await openSetting()
  const { node, hub, holder, agent, socket, submit } = setting
  await holds(node, A)
  await submit('first')
  expect(await arrivesFrom(hub, 1)).toBe(A)
  holder.kill('SIGKILL')
  await holder.exited
  // Longer than any lifetime.
  await holds(node)
  await submit('second')
  await using _next = await openHolder(node, socket)
  expect(await arrivesFrom(hub, 2)).toBe(A)
  agent.process.kill('SIGTERM')
  expect([await agent.exited(), await held(node)]).toEqual([0, []])
})

test.concurrent('an address that is taken out of the document stays until its last connection has ended', async () => {
  await using setting = await openSetting(3_000)
  const { node, hub, agent, submit } = setting
  await submit('first')
  await waitFor('a transaction under way', () => hub.beginnings() === 1, { everyMillis: 10 })
  set(agent, B)
  await holds(node, A, B)
  expect(hub.arrivals()).toEqual([])
  expect(await arrivesFrom(hub, 1)).toBe(A)
  await holds(node, B)
  await submit('second')
  expect(await arrivesFrom(hub, 2)).toBe(B)
})

test.concurrent('an address that another machine answers for is named by AddressesPresent; mail leaves from the others', async () => {
  await using setting = await openSetting()
  const { node, right, hub, agent, submit } = setting
  await right.ip(`addr add ${B}/32 dev eth0`)
  const from = agent.lines.length
  set(agent, A, B)
  const said = await waitFor('the condition', () =>
    agent.lines.slice(from).find((line) => line['condition'] === 'AddressesPresent' && line['status'] === 'False'),
  )
  expect(said).toMatchObject({
    reason: 'AddressesMissing',
    detail: expect.stringMatching(/^must be on an interface of this node, are not: 198\.18\.0\.108 \(InUse: .+ answers for it\)$/),
  })
  for (const run of ['first', 'second', 'third']) await submit(run)
  expect([await arrivesFrom(hub, 3), new Set(hub.arrivals().map(({ sourceAddress }) => sourceAddress))]).toEqual([A, new Set([A])])
  await right.ip(`addr del ${B}/32 dev eth0`)
  await holds(node, A, B)
})
