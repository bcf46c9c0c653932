import { expect, test } from 'vitest'
import type { EndpointSlice } from '#kube/resources.ts'
import { planSlice, type SlicePlan } from './endpoint-slice.ts'

const ENDPOINT = { address: '192.0.2.7', nodeName: 'n1', ports: [{ name: 'submission', port: 587 }] }
const made: EndpointSlice = {
  metadata: { name: 'news-0', resourceVersion: '1', labels: { 'kubernetes.io/service-name': 'news' } },
  addressType: 'IPv4',
  endpoints: [],
  ports: [],
}
/** As the server gives it back: fields in another order. */
const announced: EndpointSlice = {
  ...made,
  metadata: { ...made.metadata, resourceVersion: '2', annotations: { 'mtafleet.io/epoch': '4' } },
  endpoints: [{ nodeName: 'n1', conditions: { terminating: false, serving: true, ready: true }, addresses: ['192.0.2.7'] }],
  ports: [{ protocol: 'TCP', port: 587, name: 'submission' }],
}
const plan = (slice: EndpointSlice, epoch = 4, endpoint = ENDPOINT): SlicePlan => planSlice(slice, epoch, endpoint)

test('the first primary announces itself and leaves the labels alone', () => {
  expect(plan(made)).toEqual({
    kind: 'write',
    slice: { ...announced, metadata: { ...made.metadata, annotations: { 'mtafleet.io/epoch': '4' } } },
  })
})

test('what is announced is not written again', () => {
  expect(plan(announced)).toEqual({ kind: 'announced' })
})

test.each([
  { what: 'the same address', endpoint: ENDPOINT },
  { what: 'another address', endpoint: { ...ENDPOINT, address: '192.0.2.8' } },
])('a higher epoch announces itself with $what', ({ endpoint }) => {
  expect(plan(announced, 5, endpoint)).toMatchObject({
    kind: 'write',
    slice: {
      metadata: { resourceVersion: '2', annotations: { 'mtafleet.io/epoch': '5' } },
      endpoints: [{ addresses: [endpoint.address] }],
    },
  })
})

test('the epoch is never lowered', () => {
  expect(plan(announced, 3)).toEqual({ kind: 'superseded', epoch: 4 })
})

test.each([
  { what: 'a port that was edited', slice: { ...announced, ports: [{ name: 'submission', port: 25, protocol: 'TCP' }] } },
  { what: 'an endpoint that was taken out', slice: { ...announced, endpoints: null } },
  {
    what: 'an epoch that is no number',
    slice: { ...announced, metadata: { ...announced.metadata, annotations: { 'mtafleet.io/epoch': 'four' } } },
  },
])('$what is put right', ({ slice }) => {
  expect(plan(slice)).toMatchObject({ kind: 'write', slice: { endpoints: announced.endpoints, ports: announced.ports } })
})

test('a slice of the other family is told, for nobody can change it', () => {
  expect(plan({ ...made, addressType: 'IPv6' })).toEqual({
    kind: 'impossible',
    because: 'EndpointSlice news-0 must be of IPv4, as 192.0.2.7 is, was of IPv6',
  })
})
