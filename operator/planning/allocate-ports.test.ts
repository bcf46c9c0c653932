import { expect, test } from 'vitest'
import type { Ports } from '#crds/mta-instance.ts'
import { allocatePorts, type PortParty } from './allocate-ports.ts'

const RANGE = { first: 100, last: 108 }
const ports = (first: number): Ports => ({ submission: first, submissions: first + 1, admin: first + 2 })
const party = (id: string, nodeName: string | undefined, has?: Ports): PortParty => ({ id, nodeName, ports: has })

const CASES: Record<string, readonly [readonly PortParty[], Readonly<Record<string, Ports>>]> = {
  'the lowest free ones, one after the other': [[party('a', 'n1'), party('b', 'n1')], { a: ports(100), b: ports(103) }],
  'the same ones on another node': [[party('a', 'n1'), party('b', 'n2')], { a: ports(100), b: ports(100) }],
  'kept for good, even outside of the range': [
    [party('a', 'n1', ports(500)), party('b', 'n1', ports(103))],
    { a: ports(500), b: ports(103) },
  ],
  'a gap is filled': [
    [party('a', 'n1', { submission: 100, submissions: 102, admin: 104 }), party('b', 'n1')],
    { a: { submission: 100, submissions: 102, admin: 104 }, b: { submission: 101, submissions: 103, admin: 105 } },
  ],
  'of two with the same, the older keeps them': [
    [party('old', 'n1', ports(100)), party('young', 'n1', ports(102))],
    { old: ports(100), young: ports(103) },
  ],
  'one without a node might come to any': [
    [party('a', undefined, ports(100)), party('b', 'n1'), party('c', 'n2', ports(103)), party('d', undefined)],
    { a: ports(100), b: ports(103), c: ports(103), d: ports(106) },
  ],
  'none where the range is used up': [
    [party('a', 'n1'), party('b', 'n1'), party('c', 'n1'), party('d', 'n1')],
    { a: ports(100), b: ports(103), c: ports(106) },
  ],
}

test.each(Object.entries(CASES))('%s', (_, [parties, want]) => {
  expect(Object.fromEntries(allocatePorts(parties, RANGE))).toEqual(want)
})
