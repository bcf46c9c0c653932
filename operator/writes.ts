import { FIELD_OWNERS } from '#crds/group.ts'
import type { IPPool, IPPoolStatus } from '#crds/ip-pool.ts'
import type { MTAInstance, MTAInstanceStatus } from '#crds/mta-instance.ts'
import type { SendingStream, SendingStreamStatus } from '#crds/sending-stream.ts'
import type { Client } from '#kube/client.ts'
import { isKubeError } from '#kube/errors.ts'
import type { EventRecorder } from '#kube/events.ts'
import { apiVersionOf, type KubeObject, type Resource } from '#kube/resources.ts'
import type { Applied, Change, EventNote, Manifest, ObjectRef } from '#operator/planning/change.ts'
import type { PoolPorts } from './controllers/ip-pool.ts'
import type { InstancePorts } from './controllers/mta-instance.ts'
import type { StreamPorts } from './controllers/sending-stream.ts'
import { type Fleet, WATCHED } from './fleet.ts'
import { type IssueChange, issueInstanceCertificate } from './issue-certificate.ts'
import type { Secrets } from './secrets.ts'

/**
 * What the controllers ask for, by client and caches. Every write that was answered is shown to the caches at once, so that the next plan is not made
 * from a world without it.
 */

export type World = {
  readonly client: Client
  readonly fleet: Fleet
  readonly secrets: Secrets
  readonly events: EventRecorder
  readonly wall: () => number
}

const OWNER = { owner: FIELD_OWNERS.operator }

export function openPorts(world: World): StreamPorts & InstancePorts & PoolPorts {
  const { fleet, secrets, events } = world
  return {
    readFleet: async (namespace, signal) => fleet.snapshot(await secrets.read(namespace, signal)),
    now: () => world.wall(),
    applyChange: (change, signal) => applyChange(world, change, signal),
    reportStream: (stream, status, signal) => report(world, stream, status, signal),
    reportInstance: (instance, status, signal) => report(world, instance, status, signal),
    reportPool: (pool, status, signal) => report(world, pool, status, signal),
    publish: (event: EventNote) => events.record(event),
  }
}

async function applyChange(world: World, change: Change, signal: AbortSignal): Promise<Applied> {
  try {
    if (change.kind === 'issueCertificate') return await issue(world, change, signal)
    await write(world, change, signal)
    return { kind: 'done' }
  } catch (error) {
    if (isKubeError(error, 'invalid', 'forbidden')) return { kind: 'refused', message: error.message }
    throw error
  }
}

async function issue({ client, secrets, wall }: World, change: IssueChange, signal: AbortSignal): Promise<Applied> {
  const issued = await issueInstanceCertificate({ client, wall: wall() }, change, signal)
  if (issued.kind === 'foreign') return { kind: 'refused', message: issued.message }
  for (const secret of issued.written) secrets.note(secret)
  return { kind: 'done' }
}

async function write({ client, fleet }: World, change: Exclude<Change, IssueChange>, signal: AbortSignal): Promise<void> {
  switch (change.kind) {
    case 'apply':
      return fleet.expect(await client.apply(resourceOf(change.object), change.object, OWNER, { signal }))
    case 'create':
      return fleet.expect(await client.create(resourceOf(change.object), change.object, { signal }))
    case 'delete':
      return unlessGone(
        client.delete(resourceOf(change.ref), change.ref, { uid: change.ref.uid, propagation: 'Background' }, { signal }),
        'Deleted',
      )
    case 'setFinalizers': {
      const { ref, finalizers, resourceVersion } = change
      const patch = client.patch(resourceOf(ref), ref, { metadata: { uid: ref.uid, resourceVersion, finalizers } }, { signal })
      return unlessGone(
        patch.then((object) => fleet.expect(object)),
        'Patched',
      )
    }
  }
}

/** What is gone already needs no deletion and no finalizers. A deletion that meets another object of the same name has nothing left to do either. */
async function unlessGone(call: Promise<void>, what: 'Deleted' | 'Patched'): Promise<void> {
  try {
    await call
  } catch (error) {
    if (isKubeError(error, 'notFound')) return
    if (what === 'Deleted' && isKubeError(error, 'conflict')) return
    throw error
  }
}

type Reported = SendingStream | IPPool | MTAInstance
type AnyStatus = SendingStreamStatus | IPPoolStatus | MTAInstanceStatus

/** An object that is gone meanwhile needs no report. */
async function report(
  { client, fleet }: World,
  { apiVersion, kind, metadata }: Reported,
  status: AnyStatus,
  signal: AbortSignal,
): Promise<void> {
  const { namespace = '', name } = metadata
  try {
    fleet.expect(await client.applyStatus(resourceOf({ apiVersion, kind }), { metadata: { namespace, name }, status }, OWNER, { signal }))
  } catch (error) {
    if (!isKubeError(error, 'notFound')) throw error
  }
}

/** Plans may only write kinds that we watch: what is not watched would be written again and again. */
function resourceOf({ apiVersion, kind }: Pick<Manifest | ObjectRef, 'apiVersion' | 'kind'>): Resource<KubeObject> {
  const found = Object.values<Resource>(WATCHED).find((one) => one.kind === kind && apiVersionOf(one) === apiVersion)
  if (found === undefined)
    throw new TypeError(`${kind} of ${apiVersion} must be one of the watched kinds: ${Object.keys(WATCHED).join(', ')}`)
  return found
}
