import { Counter, Gauge, type Registry } from 'prom-client'
import type { ReplicationStatus } from '#crds/replication.ts'

/** What an instance of a shard counts of its standbys; the same facts as in its status, read when somebody scrapes. */

const ROLES = ['Primary', 'Standby', 'Claiming'] as const satisfies readonly ReplicationStatus['role'][]

export function registerReplication(registry: Registry, read: () => ReplicationStatus): void {
  const registers = [registry]
  const named = (name: string, help: string) => ({ name: `mtafleet_agent_replication_${name}`, help, registers })
  const gauge = (name: string, help: string, value: (status: ReplicationStatus) => number) => {
    const made: Gauge = new Gauge({ ...named(name, help), collect: (): void => made.set(value(read())) })
  }
  const role: Gauge<'role'> = new Gauge({
    ...named('role', '1 for the role that the instance has, 0 for the others.'),
    labelNames: ['role'],
    collect: (): void => {
      const is = read().role
      for (const one of ROLES) role.set({ role: one }, one === is ? 1 : 0)
    },
  })
  gauge('epoch', 'The highest epoch that the instance has followed or led.', ({ epoch }) => epoch)
  gauge('copies_in_sync', 'Of a primary: copies in the set, its own among them; 0 for a standby.', ({ inSync }) => inSync?.length ?? 0)
  gauge('lag_entries', 'Of a primary: entries that the slowest standby in sync lacks.', ({ lagEntries }) => lagEntries ?? 0)
  gauge('set_aside_messages', 'Messages that wait to be handed over to the primary.', ({ setAside }) => setAside ?? 0)
  gauge(
    'last_failover_duration_seconds',
    'How long the last change of the primary took, as this instance saw it; 0 when it saw none.',
    ({ lastFailover }) => (lastFailover?.durationMillis ?? 0) / 1000,
  )
  const alone: Counter = new Counter({
    ...named('accepted_alone_total', 'Messages accepted on one disk alone, since the process began.'),
    collect: (): void => {
      alone.reset()
      alone.inc(read().acceptedAlone ?? 0)
    },
  })
}
