import { z } from 'zod'
import { nameRule } from './fields.ts'
import { GROUP, type Kind, RESOURCES, VERSION } from './group.ts'
import { IPPoolSpec, IPPoolStatus } from './ip-pool.ts'
import { celPorts, MTAInstanceSpec, MTAInstanceStatus } from './mta-instance.ts'
import { formatValidation, type TransitionRule } from './rules.ts'
import { SendingStreamSpec, SendingStreamStatus } from './sending-stream.ts'
import { type StructuralSchema, toStructuralSchema } from './structural-schema.ts'

/** The three CustomResourceDefinitions, as values. Short names are ours alone; other projects have kinds called IPPool, so always `ipp`. */

type Column = {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly jsonPath: string
  readonly description: string
  /** Shown with -o wide only. */
  readonly priority?: 1
}

type Definition = {
  readonly description: string
  readonly shortNames: readonly string[]
  readonly spec: z.ZodType
  readonly status: z.ZodType
  /** Rules about the whole document; the API server shows metadata.name there and nowhere else. */
  readonly rules: readonly TransitionRule[]
  readonly columns: readonly Column[]
  readonly selectable: readonly string[]
  readonly scale?: { readonly specReplicasPath: string; readonly statusReplicasPath: string; readonly labelSelectorPath: string }
}

const READY: Column = {
  name: 'Ready',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].status',
  description: 'Whether all is well.',
}
const REASON: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
  description: 'Why it is ready, or is not.',
}
const MESSAGE: Column = {
  name: 'Message',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].message',
  description: 'The same as a sentence.',
  priority: 1,
}
const AGE: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'How long it has been there.' }

const text = (name: string, jsonPath: string, description: string): Column => ({ name, type: 'string', jsonPath, description })
const count = (name: string, jsonPath: string, description: string): Column => ({ name, type: 'integer', jsonPath, description })
const wide = (column: Column): Column => ({ ...column, priority: 1 })

export const DEFINITIONS: Readonly<Record<Kind, Definition>> = {
  SendingStream: {
    description: 'One class of mail with its own processes, queues, source addresses, credentials and limits.',
    shortNames: ['stream', 'streams'],
    spec: SendingStreamSpec,
    status: SendingStreamStatus,
    rules: [nameRule('SendingStream')],
    columns: [
      READY,
      REASON,
      text('Class', '.spec.class', 'What kind of mail it is.'),
      text('Pool', '.spec.poolRef.name', 'Where its source addresses come from.'),
      count('Primaries', '.spec.primaries', 'How many instances are wanted.'),
      count('Up', '.status.readyReplicas', 'How many of them are Ready.'),
      count('Queued', '.status.queue.messages', 'How many messages wait.'),
      wide(count('Deferred', '.status.queue.deferred', 'How many recipients wait for another attempt.')),
      wide(count('Standbys', '.spec.standbysPerPrimary', 'How many standbys each of them shall have.')),
      wide(text('In Sync', '.status.conditions[?(@.type=="InSync")].status', 'Whether every standby has all that was acknowledged.')),
      wide(text('Stop', '.spec.stopPolicy', 'The stop policy.')),
      MESSAGE,
      AGE,
    ],
    selectable: ['.spec.class', '.spec.poolRef.name'],
    scale: {
      specReplicasPath: '.spec.primaries',
      statusReplicasPath: '.status.replicas',
      labelSelectorPath: '.status.selector',
    },
  },
  IPPool: {
    description: 'Source addresses with one policy: where they are, and which classes of mail may be sent from them.',
    shortNames: ['ipp'],
    spec: IPPoolSpec,
    status: IPPoolStatus,
    rules: [nameRule('IPPool')],
    columns: [
      READY,
      REASON,
      count('Total', '.status.total', 'How many addresses it has.'),
      count('Assigned', '.status.assigned', 'How many of them an instance or a shard has.'),
      text('Stream', '.status.stream', 'The stream that it serves.'),
      wide(text('Classes', '.spec.allowedClasses', 'The classes of mail that may use it.')),
      wide(text('Attachment', '.spec.attachment', 'Who puts its addresses on a node.')),
      MESSAGE,
      AGE,
    ],
    selectable: [],
  },
  MTAInstance: {
    description: 'One running MTA. Written by the operator from a SendingStream; change that one instead.',
    shortNames: ['mtai'],
    spec: MTAInstanceSpec,
    status: MTAInstanceStatus,
    rules: [
      nameRule('MTAInstance'),
      {
        cel: `${celPorts('self.spec.ports')}.all(port, port > 0)`,
        must: 'in a cluster every port must be at least 1',
        was: 'were %s',
        args: [celPorts('self.spec.ports')],
      },
    ],
    columns: [
      READY,
      REASON,
      text('Stream', '.spec.streamRef.name', 'The stream it belongs to.'),
      text('Mode', '.spec.mode', 'Run, Hold or Drain.'),
      text('Node', '.spec.nodeName', 'The node that has its addresses, or gets them.'),
      text('Role', '.status.agent.replication.role', 'Primary, Standby or Claiming; empty without standbys.'),
      count('Queued', '.status.agent.queue.messages', 'How many messages wait.'),
      wide(count('Epoch', '.status.agent.replication.epoch', 'The highest epoch it has followed or led.')),
      wide(text('In Sync', '.status.agent.replication.inSync', 'The instances that are in sync.')),
      wide(count('Lag', '.status.agent.replication.lagEntries', 'Entries of the log that are still to be copied.')),
      wide(count('Deferred', '.status.agent.queue.deferred', 'How many recipients wait for another attempt.')),
      wide(text('Addresses', '.spec.addresses[*].address', 'Its source addresses.')),
      wide(text('Pod', '.status.podName', 'Its Pod.')),
      MESSAGE,
      AGE,
    ],
    selectable: ['.spec.streamRef.name', '.spec.nodeName'],
  },
}

export function buildDefinition(kind: Kind): object {
  const { shortNames, columns, selectable, scale } = DEFINITIONS[kind]
  const plural = RESOURCES[kind]
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}`, labels: { 'app.kubernetes.io/name': 'mtafleet' } },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), shortNames, categories: ['mtafleet'] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {}, ...(scale ? { scale } : {}) },
          additionalPrinterColumns: columns,
          ...(selectable.length > 0 ? { selectableFields: selectable.map((jsonPath) => ({ jsonPath })) } : {}),
          schema: { openAPIV3Schema: buildSchema(kind) },
        },
      ],
    },
  }
}

/** The whole document: apiVersion, kind and metadata are the API server's own and carry no rules. */
function buildSchema(kind: Kind): StructuralSchema {
  const { description, spec, status, rules } = DEFINITIONS[kind]
  return {
    description,
    type: 'object',
    properties: {
      apiVersion: { type: 'string', description: `Always ${GROUP}/${VERSION}.`, maxLength: 63 },
      kind: { type: 'string', description: `Always ${kind}.`, maxLength: 63 },
      metadata: { type: 'object' },
      spec: toStructuralSchema(spec),
      status: toStructuralSchema(status),
    },
    required: ['spec'],
    'x-kubernetes-validations': rules.map(formatValidation),
  }
}
