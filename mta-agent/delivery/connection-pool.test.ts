import { expect, test } from 'vitest'
import { openProvider } from '#test/internet/provider.ts'
import type { Domain } from '../domain/envelope.ts'
import { ConnectionPool } from './connection-pool.ts'
import type { Route } from './route.ts'
import { DEFAULT_TUNING, NO_METRICS } from './tuning.ts'

const DESTINATION = 'example.com' as Domain

function openPool(mayUse: (address: string) => boolean): ConnectionPool {
  return new ConnectionPool({
    timeouts: DEFAULT_TUNING.timeouts,
    idleMillis: 60_000,
    clock: () => 0,
    metrics: NO_METRICS,
    maxUses: () => 100,
    maxPerDestination: () => 10,
    mayUse,
    onUnused: () => {},
    maxOpen: 10,
    cutOff: new AbortController().signal,
  })
}

// Between two hosts an attempt holds no connection: the address was reported as free, and another instance may send from it by now.
test('an attempt that goes on after its source address left the spec opens nothing from it', async () => {
  await using provider = await openProvider({ name: 'plain' })
  const route: Route = {
    source: { address: '127.0.0.2', hostName: 'mta.example.com' },
    host: { name: provider.hostName, address: provider.address, family: 4, port: provider.port },
  }
  const ours = new Set([route.source.address])
  const pool = openPool((address) => ours.has(address))
  const first = await pool.acquire(route, DESTINATION, 'any')
  expect(first.kind).toBe('lease')
  ours.clear()
  pool.reconsider()
  if (first.kind === 'lease') first.lease.release()
  await pool.closeIdle()

  expect(await pool.acquire(route, DESTINATION, 'any')).toMatchObject({ kind: 'failed', failure: { cause: 'Stopped' } })
  expect(pool.sources()).toEqual([])
  expect(provider.counts().sessions).toBe(1)
})
