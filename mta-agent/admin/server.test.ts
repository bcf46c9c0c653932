import { Counter, Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { ADMIN_PATHS, HealthReport, QueueReport } from '../contract/admin-api.ts'
import { openAdminServer } from './server.ts'

const OK: HealthReport = { status: 'ok', reason: 'Alive', message: 'the queue is open' }
const HELD: HealthReport = { status: 'unavailable', reason: 'Held', message: 'mode is Hold' }
const QUEUE: QueueReport = { messages: 1, recipients: 2, deferred: 0, contentBytes: 10, inFlight: 1, oldestTime: '2026-11-24T12:00:00Z' }

async function open() {
  const metrics = new Registry()
  new Counter({ name: 'mtafleet_agent_test_total', help: 'A test.', registers: [metrics] }).inc(3)
  const ports = { live: () => OK, ready: () => HELD, queue: () => QUEUE, metrics }
  return await openAdminServer(0, ports)
}

test('serves what the contract says, and nothing else', async () => {
  await using server = await open()
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
    return [response.status, await response.text()] as const
  }
  const [live, ready, queue, metrics] = [
    await get(ADMIN_PATHS.live),
    await get(`${ADMIN_PATHS.ready}?verbose`),
    await get(ADMIN_PATHS.queue),
    await get(ADMIN_PATHS.metrics),
  ]
  expect([live[0], HealthReport.parse(JSON.parse(live[1]))]).toEqual([200, OK])
  expect([ready[0], HealthReport.parse(JSON.parse(ready[1]))]).toEqual([503, HELD])
  expect([queue[0], QueueReport.parse(JSON.parse(queue[1]))]).toEqual([200, QUEUE])
  expect([metrics[0], metrics[1]]).toEqual([200, expect.stringContaining('mtafleet_agent_test_total 3')])
  expect(await get('/')).toEqual([404, 'must be one of /livez, /readyz, /metrics, /queue\n'])
  expect(await get(ADMIN_PATHS.queue, { method: 'POST' })).toEqual([405, 'must be GET\n'])
})

test('listens on loopback only', async () => {
  await using server = await open()
  // An address of this machine beside 127.0.0.1 on which a server for everyone would answer.
  await expect(fetch(`http://127.0.0.2:${server.port}/livez`)).rejects.toThrow('fetch failed')
})
