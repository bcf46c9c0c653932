import { onTestFailed } from 'vitest'
import type { Arrival } from '#test/internet/arrival.ts'
import type { Accepted } from '#test/internet/load.ts'
import { waitFor } from '#test/support/wait.ts'
import { openShardOfAgents, type ShardAgent, type ShardOfAgents, type ShardOptions } from './shard-of-agents.ts'

/** A shard of two agents as a test finds it: the first leads, the second is in sync. When the test fails, both say what they logged last. */
export async function openRunningPair(options: Omit<ShardOptions, 'timing' | 'durability'>): Promise<ShardOfAgents> {
  await using stack = new AsyncDisposableStack()
  const shard = stack.use(await openShardOfAgents({ timing: 'Default', durability: 'Available', ...options }))
  onTestFailed(() => shard.agents.forEach(showLastLines))
  const [a, b] = shard.agents
  a.start()
  await shard.createRecord(a)
  await leads(a)
  b.start()
  await inSync(a, 2)
  stack.move()
  return shard
}

function showLastLines({ name, lines }: ShardAgent): void {
  const last = lines.slice(-40).map((line) => JSON.stringify(line))
  console.error(name, last.join('\n'))
}

export const leads = (agent: ShardAgent): Promise<true> =>
  waitFor(`${agent.name} as primary`, async () => ((await agent.status())?.role === 'Primary' ? true : undefined), { everyMillis: 100 })

/** Returns when `primary` leads and says that so many copies are in sync, its own among them. */
export const inSync = (primary: ShardAgent, count: number): Promise<true> =>
  waitFor(`${count} in sync`, async () => {
    const status = await primary.status()
    return status?.role === 'Primary' && status.inSync?.length === count ? true : undefined
  })

/** What a receiving side says that arrived. */
export type Arrived = () => readonly Pick<Arrival, 'messageId'>[]

/** Returns when each of them has arrived. */
export async function allArrived(arrived: Arrived, accepted: readonly Accepted[]): Promise<void> {
  await waitFor('all mail that was accepted', () => {
    const ids = new Set(arrived().map(({ messageId }) => messageId))
    return accepted.every(({ messageId }) => ids.has(messageId))
  })
}
