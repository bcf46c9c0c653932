import type { MTAInstanceSpec, Ports } from '#crds/mta-instance.ts'
import type { Replication } from '#crds/replication.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Assignment } from '../assignment.ts'
import { claimName } from './metadata.ts'
import { DIRECTORIES } from './pod.ts'

export type Allotment = {
  readonly name: string
  readonly shard: number
  readonly mode: MTAInstanceSpec['mode']
  readonly assignment: Assignment
  readonly ports: Ports
  /** Only where there are standbys. */
  readonly replication?: Replication
}

/** The document that an agent works by: the stream's wishes, and what was allotted to this instance. */
export function buildInstanceSpec({ metadata, spec }: SendingStream, allotment: Allotment): MTAInstanceSpec {
  const { name, shard, mode, assignment, ports, replication } = allotment
  const { port: _port, implicitTlsPort: _implicitTlsPort, ...submission } = spec.submission
  const { tlsSecretRef, authSecretRef } = submission
  const isManaged = assignment.attachment === 'Managed'
  return {
    streamRef: { name: metadata.name },
    class: spec.class,
    shard,
    mode,
    ...(assignment.nodeName === undefined ? {} : { nodeName: assignment.nodeName }),
    addresses: [...assignment.addresses],
    ...(isManaged ? { addressAttachment: 'Managed' as const } : {}),
    ports,
    submission,
    queue: { ...spec.queue, volumeClaimName: claimName(name) },
    directories: {
      queue: DIRECTORIES.queue,
      ...(tlsSecretRef === undefined ? {} : { tls: DIRECTORIES.tls }),
      ...(authSecretRef === undefined ? {} : { auth: DIRECTORIES.auth }),
      ...(replication === undefined ? {} : { replication: DIRECTORIES.replication }),
      ...(isManaged ? { addressHolder: DIRECTORIES.addressHolder } : {}),
    },
    delivery: spec.delivery,
    ...(spec.routes === undefined ? {} : { routes: spec.routes }),
    ...(spec.placement === undefined ? {} : { placement: spec.placement }),
    agent: spec.agent,
    ...(replication === undefined ? {} : { replication }),
  }
}
