/** Every name this project owns in a cluster: group, kinds, labels, annotations, finalizers, field owners. */

export const GROUP = 'mtafleet.io'
export const VERSION = 'v1alpha1'
export const API_VERSION = `${GROUP}/${VERSION}`

/** Plural resource names, as they stand in URLs and in RBAC rules. */
export const RESOURCES = {
  SendingStream: 'sendingstreams',
  IPPool: 'ippools',
  MTAInstance: 'mtainstances',
} as const
export type Kind = keyof typeof RESOURCES

export const LABELS = {
  stream: 'mtafleet.io/stream',
  instance: 'mtafleet.io/instance',
  shard: 'mtafleet.io/shard',
  class: 'mtafleet.io/class',
  managedBy: 'app.kubernetes.io/managed-by',
  name: 'app.kubernetes.io/name',
  component: 'app.kubernetes.io/component',
} as const

/** Label of Kubernetes: who writes an EndpointSlice. Those of other managers belong to Kubernetes itself. */
export const SLICE_MANAGER = 'endpointslice.kubernetes.io/managed-by'

export const ANNOTATIONS = {
  /** Hash of everything in a Pod that cannot change while it runs; another hash means another Pod. */
  podHash: 'mtafleet.io/pod-hash',
  /** On an MTAInstance, by an admin: its node, named here, is lost for good, so the instance may be deleted (docs/node-lost.md). */
  nodeLost: 'mtafleet.io/node-lost',
  /** On the MTAInstance of a primary, by the operator or an admin: the epoch that shall end with a switchover. Of another epoch it is nothing. */
  switchover: 'mtafleet.io/switchover',
  /** On the MTAInstance of a standby, by an admin: the old primary is down, promote this one (mta-agent/contract/requests.ts). */
  promote: 'mtafleet.io/promote',
  /** The same, by the operator when nothing that it sees speaks against it; the agent follows this one alone. */
  promoteGranted: 'mtafleet.io/promote-granted',
  /** On the EndpointSlice of a shard: the epoch of the primary that wrote it. */
  epoch: 'mtafleet.io/epoch',
} as const

export const FINALIZERS = {
  /** On SendingStream and MTAInstance: an instance goes only after its stopPolicy has been honoured. */
  drain: 'mtafleet.io/drain',
  /** On the record of a shard: it goes only when nothing of the shard is left. */
  record: 'mtafleet.io/record',
} as const

/** Server-side apply field owners: one for each writer, so that each owns its own conditions. */
export const FIELD_OWNERS = { operator: 'mtafleet-operator', agent: 'mtafleet-agent' } as const
