import { type Copy, formatRecord, parseRecord, type RecordContent, setOf } from '#agent/contract/record.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { Failover, SendingStream } from '#crds/sending-stream.ts'
import { type FleetSnapshot, isDeleting, type Lease, type Pod, podOf } from '#operator/planning/snapshot.ts'
import { isAlive } from '#operator/planning/standbys/shard.ts'
import { agentsFollow, attachedBy, named, podsRun } from './fleet.ts'

/** Streams with standbys, and agents that keep the record of their shard as real ones would. */

export const withStandbys = (stream: SendingStream, standbysPerPrimary: number, failover: Partial<Failover> = {}): SendingStream => {
  return { ...stream, spec: { ...stream.spec, standbysPerPrimary, failover: { ...stream.spec.failover, ...failover } } }
}

export const recordOf = (fleet: FleetSnapshot, name: string): RecordContent => {
  const { version: _, ...content } = parseRecord(named(fleet.leases, name))
  return content
}

/** The agents have changed it. */
export const setRecord = (fleet: FleetSnapshot, name: string, change: Partial<RecordContent>): FleetSnapshot => ({
  ...fleet,
  leases: fleet.leases.map((lease) => (lease.metadata.name === name ? write(lease, { ...parseRecord(lease), ...change }) : lease)),
})

function write(lease: Lease, content: RecordContent): Lease {
  const { annotations, spec } = formatRecord(content)
  const { metadata } = lease
  const isSame = JSON.stringify([metadata.annotations, lease.spec]) === JSON.stringify([{ ...metadata.annotations, ...annotations }, spec])
  const resourceVersion = String(Number(metadata.resourceVersion ?? '0') + (isSame ? 0 : 1))
  return { ...lease, spec, metadata: { ...metadata, resourceVersion, annotations: { ...metadata.annotations, ...annotations } } }
}

export const copyOf = (instance: string): Copy => ({ instance, copy: `${instance}-copy` })

/** Everybody does what they shall: Pods run, agents say so, and every primary has those in its set that are there. */
export const pairsFollow = (before: FleetSnapshot): FleetSnapshot => {
  const running = awaitRecords(podsRun(before))
  const followed = agentsFollow(running)
  const fleet = { ...followed, leases: followed.leases.map((lease) => keepSet(followed, lease)) }
  return { ...fleet, instances: fleet.instances.map((instance, index) => said(fleet, instance, before.instances[index])) }
}

/** An agent with standbys is ready once its shard has a record, and not before; on a node that is silent nobody is. */
function awaitRecords(fleet: FleetSnapshot): FleetSnapshot {
  const recorded = new Set(fleet.leases.map(({ metadata }) => metadata.name))
  const pods = fleet.pods.map((pod): Pod => {
    const { volumes = [] } = pod.spec as { readonly volumes?: readonly { readonly name: string }[] }
    if (!volumes.some(({ name }) => name === 'replication')) return pod
    const node = fleet.nodes.find(({ metadata }) => metadata.name === pod.spec?.nodeName)
    const isSilent = node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status !== 'True') === true
    const status = recorded.has(pod.metadata.name.replace(/-[a-z]$/, '')) && !isSilent ? 'True' : 'False'
    const others = pod.status?.conditions?.filter(({ type }) => type !== 'Ready') ?? []
    return { ...pod, status: { ...pod.status, conditions: [...others, { type: 'Ready', status }] } }
  })
  return { ...fleet, pods }
}

function keepSet(fleet: FleetSnapshot, lease: Lease): Lease {
  const record = parseRecord(lease)
  const primary = fleet.instances.find(({ metadata }) => metadata.name === record.holder.instance)
  if (!isAlive(fleet, primary)) return lease
  const peers = primary?.spec.replication?.peers.map(({ instance }) => instance) ?? []
  const there = fleet.instances.filter((one) => peers.includes(one.metadata.name) && !isDeleting(one) && isAlive(fleet, one))
  return write(lease, { ...record, inSync: setOf([copyOf(record.holder.instance), ...there.map(({ metadata }) => copyOf(metadata.name))]) })
}

/** What one said last stays when its Pod is gone. */
function said(fleet: FleetSnapshot, instance: MTAInstance, before: MTAInstance | undefined): MTAInstance {
  const { replication } = instance.spec
  if (replication === undefined || instance.status?.agent === undefined) return instance
  if (podOf(fleet, instance) === undefined) return before ?? instance
  const { name } = instance.metadata
  const lease = fleet.leases.find(({ metadata }) => metadata.name === replication.recordName)
  const record = lease === undefined ? undefined : parseRecord(lease)
  return {
    ...instance,
    status: {
      ...instance.status,
      agent: {
        ...instance.status.agent,
        ...attachedBy(instance, record?.holder.instance === name),
        replication: {
          copyId: copyOf(name).copy,
          incarnation: `${name}-1`,
          role: record?.holder.instance === name ? 'Primary' : 'Standby',
          epoch: record?.epoch ?? 0,
          inSync: record?.inSync.map((copy) => copy.instance) ?? [],
        },
      },
    },
  }
}
