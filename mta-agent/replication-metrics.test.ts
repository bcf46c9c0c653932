import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import type { ReplicationStatus } from '#crds/replication.ts'
import { registerReplication } from './replication-metrics.ts'

const STANDBY: ReplicationStatus = { copyId: 'c'.repeat(32), incarnation: 'i', role: 'Standby', epoch: 3, acceptedAlone: 0, setAside: 2 }

async function scraped(registry: Registry): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')).replace('mtafleet_agent_replication_', ''),
      Number(line.slice(line.lastIndexOf(' '))),
    ]),
  )
}

test('each scrape says what is true then: role, epoch, set, lag, and what was accepted alone', async () => {
  const registry = new Registry()
  let status = STANDBY
  registerReplication(registry, () => status)
  expect(await scraped(registry)).toEqual({
    'role{role="Primary"}': 0,
    'role{role="Standby"}': 1,
    'role{role="Claiming"}': 0,
    epoch: 3,
    copies_in_sync: 0,
    lag_entries: 0,
    set_aside_messages: 2,
    last_failover_duration_seconds: 0,
    accepted_alone_total: 0,
  })
  status = {
    ...STANDBY,
    role: 'Primary',
    epoch: 4,
    inSync: ['a', 'b'],
    lagEntries: 5,
    acceptedAlone: 7,
    lastFailover: { reason: 'PrimaryLost', at: '2026-11-24T00:00:00Z', durationMillis: 6200 },
  }
  const first = await scraped(registry)
  expect(first).toMatchObject({ 'role{role="Primary"}': 1, 'role{role="Standby"}': 0, epoch: 4, copies_in_sync: 2, lag_entries: 5 })
  expect(first).toMatchObject({ last_failover_duration_seconds: 6.2, accepted_alone_total: 7 })
  expect(await scraped(registry)).toEqual(first)
})
