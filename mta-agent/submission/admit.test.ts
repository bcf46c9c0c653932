import { expect, test } from 'vitest'
import { judgeData, judgeMail, type AdmitFacts } from './admit.ts'

const facts = (change: Partial<AdmitFacts> = {}): AdmitFacts => ({
  mode: 'Run',
  stopping: false,
  gate: 'open',
  mayRelay: true,
  declaredBytes: undefined,
  maxMessageBytes: 1000,
  queueRoom: 'room',
  inFlightBytes: 0,
  maxInFlightBytes: 5000,
  ...change,
})
const STANDBY = { code: 421, enhanced: '4.3.2', text: 'this instance is a standby; try again' }
const code = (verdict: ReturnType<typeof judgeMail>) =>
  verdict === 'admitted' ? verdict : `${verdict.refused.code} ${verdict.refused.enhanced}`

test.each([
  ['all is well', {}, 'admitted'],
  ['the size is just right', { declaredBytes: 1000 }, 'admitted'],
  ['the process stops', { stopping: true }, '421 4.3.2'],
  ['the stream drains', { mode: 'Drain' }, '421 4.3.2'],
  ['the stream is held', { mode: 'Hold' }, '451 4.3.2'],
  ['the instance is a standby', { gate: STANDBY }, '421 4.3.2'],
  ['the client is a stranger', { mayRelay: false }, '530 5.7.0'],
  ['it is declared too large', { declaredBytes: 1001 }, '552 5.3.4'],
  ['the queue is full', { queueRoom: 'full' }, '452 4.3.1'],
  ['too much is being received', { declaredBytes: 1000, inFlightBytes: 4001 }, '452 4.3.1'],
  ['a stranger meets a full queue', { mayRelay: false, queueRoom: 'full' }, '530 5.7.0'],
] satisfies [string, Partial<AdmitFacts>, string][])('MAIL when %s', (_, change, want) => {
  expect(code(judgeMail(facts(change)))).toBe(want)
})

test('an admitted transaction may go on while the stream is held or the process stops, not while it drains, when there is no room, or on a standby', () => {
  const changes: Partial<AdmitFacts>[] = [{ mode: 'Hold' }, { stopping: true }, { mode: 'Drain' }, { queueRoom: 'full' }, { gate: STANDBY }]
  expect(changes.map((change) => code(judgeData(facts(change))))).toEqual(['admitted', 'admitted', '421 4.3.2', '452 4.3.1', '421 4.3.2'])
})
