import { expect, test } from 'vitest'
import { openMetrics } from './metrics.ts'
import type { Handled } from './queue/handled.ts'

const totals = { messages: 0, recipients: 0, deferred: 0, contentBytes: 0 }

test('what has happened to the mail of a queue is told by whoever leads it, from where it was', async () => {
  let handled: Handled | undefined
  const { registry } = openMetrics({ totals: () => totals, handled: () => handled, inFlight: () => 0, clock: () => 0 })
  const lines = async () => (await registry.metrics()).split('\n').filter((line) => line.startsWith('mtafleet_agent_queue_handled_total{'))
  expect(await lines()).toEqual([])
  handled = { accepted: 700, delivered: 600, bounced: 5, deferred: 40 }
  const told = [
    'mtafleet_agent_queue_handled_total{what="accepted"} 700',
    'mtafleet_agent_queue_handled_total{what="delivered"} 600',
    'mtafleet_agent_queue_handled_total{what="bounced"} 5',
    'mtafleet_agent_queue_handled_total{what="deferred"} 40',
  ]
  expect([await lines(), await lines()]).toEqual([told, told])
  handled = undefined
  expect(await lines()).toEqual([])
})
