import { expect, test } from 'vitest'
import { cutBytes, EventLedger, type EventVerdict, type KubeEvent } from './events.ts'

const event = (note: string, name = 'stream'): KubeEvent => ({
  regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'mail', name },
  type: 'Warning',
  reason: 'ImageMissing',
  action: 'StartPod',
  note,
})
const named = (name: string) => ({ namespace: 'mail', name })

test('the same thing said again is counted, and the count is written at most once a minute', () => {
  const ledger = new EventLedger()
  const verdicts = [0, 10_000, 59_999, 60_000, 61_000, 120_000].map((at) => ledger.judge(event('no image'), at, named(`at-${at}`)))
  expect(verdicts).toEqual([
    { kind: 'create', name: named('at-0') },
    { kind: 'counted' },
    { kind: 'counted' },
    { kind: 'repeat', name: named('at-0'), count: 4 },
    { kind: 'counted' },
    { kind: 'repeat', name: named('at-0'), count: 6 },
  ] satisfies EventVerdict[])
})

test('another object or another note is another Event', () => {
  const ledger = new EventLedger()
  const verdicts = [event('a'), event('b'), event('a', 'other')].map((one, at) => ledger.judge(one, at, named(String(at))).kind)
  expect(verdicts).toEqual(['create', 'create', 'create'])
})

test('what was not said for an hour is said anew', () => {
  const ledger = new EventLedger()
  ledger.judge(event('a'), 0, named('first'))
  expect(ledger.judge(event('a'), 3_600_001, named('second'))).toEqual({ kind: 'create', name: named('second') })
})

test('what could not be written is said anew', () => {
  const ledger = new EventLedger()
  ledger.judge(event('a'), 0, named('first'))
  ledger.forget(event('a'))
  expect(ledger.judge(event('a'), 1, named('second'))).toEqual({ kind: 'create', name: named('second') })
})

test('one object may say twenty things at once and one more each minute; others are not held up by it', () => {
  const ledger = new EventLedger()
  const say = (note: string, at: number, name?: string) => ledger.judge(event(note, name), at, named(note)).kind
  const burst = Array.from({ length: 22 }, (_, index) => say(`note ${index}`, 0))
  expect([burst.filter((kind) => kind === 'create').length, say('late', 59_000), say('later', 60_000), say('x', 0, 'other')]).toEqual([
    20,
    'limited',
    'create',
    'create',
  ])
})

test.each([
  ['short', 'short'],
  ['x'.repeat(20), `${'x'.repeat(7)}…`],
  ['äöüäöüäöü', 'äöü…'],
  ['😀😀😀😀', '😀…'],
])('%s in ten bytes is %s', (text, cut) => {
  expect(cutBytes(text, 10)).toBe(cut)
})
