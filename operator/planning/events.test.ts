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

test('of standbys a stream tells what gets worse and what gets better, and nothing while a shard is being made', () => {
  const stream: ObjectRef = { ...regarding, kind: 'SendingStream' }
  type Step = readonly ['InSync' | 'FailoverPossible' | 'AcceptingAlone', 'True' | 'False' | 'Unknown', string]
  const tell = (ref: ObjectRef, was: Step | undefined, is: Step) =>
    planEvents(ref, was && [condition(was[0], was[1], 1, was[2])], [condition(is[0], is[1], 1, is[2])]).map(
      ({ type, reason }) => `${type} ${reason}`,
    )
  expect([
    tell(stream, ['InSync', 'True', 'InSync'], ['InSync', 'False', 'OutOfSync']),
    tell(stream, ['InSync', 'False', 'OutOfSync'], ['InSync', 'True', 'InSync']),
    tell(stream, ['FailoverPossible', 'True', 'StandbyInSync'], ['FailoverPossible', 'False', 'NoStandbyInSync']),
    tell(stream, ['AcceptingAlone', 'False', 'Copied'], ['AcceptingAlone', 'True', 'OneDisk']),
    tell(stream, ['AcceptingAlone', 'True', 'OneDisk'], ['AcceptingAlone', 'False', 'Copied']),
    tell(stream, undefined, ['InSync', 'False', 'OutOfSync']),
    tell(stream, ['InSync', 'Unknown', 'NoRecord'], ['InSync', 'False', 'OutOfSync']),
    tell(regarding, ['InSync', 'True', 'InSync'], ['InSync', 'False', 'OutOfSync']),
  ]).toEqual([['Warning OutOfSync'], ['Normal InSync'], ['Warning NoStandbyInSync'], ['Warning OneDisk'], ['Normal Copied'], [], [], []])
})
