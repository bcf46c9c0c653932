import { expect, test } from 'vitest'
import { coolDownFor, type Gate, type GateEvent, OPEN, step } from './destination-gate.ts'
import { learn, recall } from './learnt-gate.ts'

const COOL_DOWN = coolDownFor([300, 3600])
const failed = (at: number): GateEvent => ({ kind: 'failed', at })

const learntFrom = (events: readonly GateEvent[], coolDown = COOL_DOWN) => {
  let gate: Gate = OPEN
  return events.map((event) => {
    gate = step(gate, event, coolDown)
    return learn(gate, event)
  })
}

test('each closing by failures is remembered, its trial changes nothing, and an answer ends it', () => {
  const probe: readonly GateEvent[] = [{ kind: 'dialled', at: 60_002 }, failed(61_000)]
  expect(learntFrom([failed(0), failed(1), failed(2), ...probe, { kind: 'answered' }])).toEqual([
    'nothing',
    'nothing',
    { until: 60_002, coolDownMillis: 60_000 },
    undefined,
    { until: 181_000, coolDownMillis: 120_000 },
    'nothing',
  ])
})

test('what is over before anybody else delivers, or closed by its routes alone, is not', () => {
  expect(learntFrom([failed(0), failed(0), failed(0)], coolDownFor([5])).at(-1)).toBeUndefined()
  expect(learntFrom([{ kind: 'blocked', until: 600_000 }])).toEqual([undefined])
})

test('a closing is recalled as it was; one whose time is over admits one at a time; one of long ago is not', () => {
  const closing = { until: 100_000, coolDownMillis: 120_000 }
  expect(recall(closing, 40_000, COOL_DOWN)).toEqual({ state: 'closed', ...closing })
  expect(recall(closing, 3_700_000, COOL_DOWN)).toEqual({ state: 'closed', ...closing })
  expect(recall(closing, 3_700_001, COOL_DOWN)).toBeUndefined()
})

test('a clock that was wrong closes no gate for longer than gates close', () => {
  expect(recall({ until: 10 ** 13, coolDownMillis: 1 }, 1_000, COOL_DOWN)).toEqual({
    state: 'closed',
    until: 1_801_000,
    coolDownMillis: 60_000,
  })
})
