import { expect, test } from 'vitest'
import { condition } from '#test/builders/fleet.ts'
import type { ObjectRef } from './change.ts'
import { planEvents } from './events.ts'

const regarding: ObjectRef = { apiVersion: 'mtafleet.io/v1alpha1', kind: 'MTAInstance', namespace: 'mail', name: 'mail-0-a', uid: 'u' }
const ready = (status: 'True' | 'False', reason: string) => condition('Ready', status, 1, reason)
const told = (...[was, is]: readonly ReturnType<typeof ready>[]) =>
  planEvents(regarding, [was!], [is!]).map(({ type, reason }) => `${type} ${reason}`)

test('an instance that was Ready and is not any more is a warning, one whose Pod ends in order is none', () => {
  expect([
    told(ready('True', 'Serving'), ready('False', 'NodeUnreachable')),
    told(ready('True', 'Serving'), ready('False', 'PodTerminating')),
    told(ready('False', 'PodTerminating'), ready('False', 'PodMissing')),
    told(ready('False', 'ContainerCreating'), ready('True', 'Serving')),
  ]).toEqual([['Warning NodeUnreachable'], ['Normal PodTerminating'], [], ['Normal Serving']])
})
