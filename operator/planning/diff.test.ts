import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalText, hashOf, isCovered, isSame } from './diff.ts'

const CASES: Record<string, readonly [observed: unknown, desired: unknown, covered: boolean]> = {
  'a default of the API server is no difference': [
    { spec: { type: 'ClusterIP', clusterIP: '10.0.0.1' } },
    { spec: { type: 'ClusterIP' } },
    true,
  ],
  'a label of the admin is no difference': [{ labels: { a: '1', mine: 'x' } }, { labels: { a: '1' } }, true],
  'another value is': [{ labels: { a: '2' } }, { labels: { a: '1' } }, false],
  'a missing field is': [{}, { minAvailable: 1 }, false],
  'a port that is not wanted any more is': [
    {
      ports: [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
      ],
    },
    { ports: [{ name: 'a', port: 1 }] },
    false,
  ],
  'named members may stand in any order': [
    {
      ports: [
        { name: 'b', port: 2 },
        { name: 'a', port: 1 },
      ],
    },
    {
      ports: [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
      ],
    },
    true,
  ],
  'numbers may not: they are a ladder': [{ retrySeconds: [2, 1] }, { retrySeconds: [1, 2] }, false],
  'texts are a set': [{ resourceNames: ['b', 'a'] }, { resourceNames: ['a', 'b'] }, true],
  'an owner that others added is no difference': [
    { ownerReferences: [{ uid: 'x' }, { uid: 'y' }] },
    { ownerReferences: [{ uid: 'y' }] },
    true,
  ],
  'a finalizer that others added is no difference': [{ finalizers: ['theirs', 'ours'] }, { finalizers: ['ours'] }, true],
  'our finalizer missing is': [{ finalizers: ['theirs'] }, { finalizers: ['ours'] }, false],
  'an undefined wish is none': [{}, { apiVersion: undefined }, true],
}

test.each(Object.entries(CASES))('%s', (_, [observed, desired, covered]) => {
  expect(isCovered(observed, desired)).toBe(covered)
})

test('documents of our own must say nothing more either', () => {
  expect([isSame({ a: 1 }, { a: 1 }), isSame({ a: 1, b: 2 }, { a: 1 }), isSame({ a: 1 }, { a: 1, b: undefined })]).toEqual([
    true,
    false,
    true,
  ])
})

test('equal values have one text and one hash, whatever the order of their fields', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const turned = Object.fromEntries(Object.entries(value).toReversed())
      expect([canonicalText(turned), hashOf(turned), isSame(turned, value)]).toEqual([canonicalText(value), hashOf(value), true])
    }),
  )
})

test('other values have another text', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b) && canonicalText(a) !== canonicalText(b))
      expect(hashOf(a)).not.toBe(hashOf(b))
    }),
  )
})
