import { describe, expect, test } from 'vitest'
import { claimedSet, effectiveSet, formatRecord, parseRecord, recordRead, type ShardRecord, writeSent } from './record.ts'

const a = { instance: 'a', copy: 'a1' }
const b = { instance: 'b', copy: 'b1' }
const c = { instance: 'c', copy: 'c1' }
const record: ShardRecord = { version: '7', holder: { instance: 'a', incarnation: 'x' }, epoch: 4, inSync: [a, b], forcedEpoch: 2 }
const { version: _, ...content } = record

function lease(change: {
  readonly holderIdentity?: string
  readonly leaseTransitions?: number
  readonly inSync?: string
  readonly forced?: string
}) {
  return {
    metadata: {
      resourceVersion: '7',
      annotations: { 'mtafleet.io/in-sync': change.inSync ?? JSON.stringify([b, a]), 'mtafleet.io/forced-epoch': change.forced ?? '2' },
    },
    spec: { holderIdentity: change.holderIdentity ?? 'a/x', leaseTransitions: change.leaseTransitions ?? 4 },
  }
}

describe('the Lease', () => {
  test('is read into the record and written back as it was, the set sorted', () => {
    expect(parseRecord(lease({}))).toEqual(record)
    expect(formatRecord(content)).toEqual({
      annotations: { 'mtafleet.io/in-sync': JSON.stringify([a, b]), 'mtafleet.io/forced-epoch': '2' },
      spec: { holderIdentity: 'a/x', leaseTransitions: 4 },
    })
  })

  test.each([
    { change: { holderIdentity: 'a' }, want: 'spec.holderIdentity must be INSTANCE/INCARNATION, was "a"' },
    { change: { leaseTransitions: 0 }, want: 'spec.leaseTransitions must be a whole number from 1 on, was 0' },
    { change: { forced: 'two' }, want: 'mtafleet.io/forced-epoch must be a whole number from 0 on, was NaN' },
    { change: { inSync: '[]' }, want: 'mtafleet.io/in-sync must be a JSON list of {instance, copy}, was "[]"' },
    {
      change: { inSync: '[{"instance":"a"}]' },
      want: 'mtafleet.io/in-sync must be a JSON list of {instance, copy}, was "[{\\"instance\\":\\"a\\"}]"',
    },
    { change: { inSync: 'a,b' }, want: 'mtafleet.io/in-sync must be JSON, was "a,b"' },
  ])('$want', ({ change, want }) => {
    expect(() => parseRecord(lease(change))).toThrow(want)
  })
})

describe('while a write is not settled', () => {
  const removing = writeSent({ known: record, unsettled: [] }, { base: '7', content: { ...content, inSync: [a] } })
  const adding = writeSent({ known: record, unsettled: [] }, { base: '7', content: { ...content, inSync: [a, b, c] } })

  test('a copy that is being removed still counts', () => {
    expect(effectiveSet(removing, [])).toEqual([a, b])
  })

  test('a copy that is being added counts already', () => {
    expect(effectiveSet(adding, [])).toEqual([a, b, c])
  })

  test('a GET that shows the version it was based on settles nothing', () => {
    expect(recordRead(removing, record)).toEqual(removing)
  })

  test('a GET that shows another version settles it, won or lost', () => {
    const moved = { ...record, version: '8', inSync: [a] }
    expect(recordRead(adding, moved)).toEqual({ known: moved, unsettled: [] })
  })

  test('the same write sent again is one write', () => {
    expect(writeSent(removing, { base: '7', content: { ...content, inSync: [a] } })).toEqual(removing)
  })
})

describe('a claim', () => {
  test('leaves out the old holder', () => {
    expect(claimedSet(record, b, 0)).toEqual([b])
  })
  test('keeps the old holder that has renounced this very epoch', () => {
    expect([claimedSet(record, b, 4), claimedSet(record, b, 3)]).toEqual([[a, b], [b]])
  })
  test('of a restarted holder keeps itself and the others', () => {
    expect(claimedSet(record, a, 0)).toEqual([a, b])
  })
})
