import { isIP } from 'node:net'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import { ConfigFault } from './config.ts'
import type { SubmissionSettings } from './submission/listener.ts'
import { parseNetworks, type Networks } from './submission/networks.ts'

/** From the document to what each part works by, pure. What cannot change in a running process is kept, and named. */

export type Host = {
  readonly hostName: string
  /** The Pod's own address; undefined outside a Pod. */
  readonly podAddress: string | undefined
  readonly place: 'pod' | 'alone'
}

export type Settings = {
  readonly instance: MTAInstance
  readonly submission: SubmissionSettings
  /** Fields of the document that differ from what this process began with and need another process. */
  readonly restartNeeded: readonly string[]
}

/** Throws ConfigFault. */
export function planSettings(instance: MTAInstance, host: Host, running?: Settings): Settings {
  const { spec } = instance
  const allowedNetworks = parseSpec(instance)
  const fixed = running?.instance.spec ?? spec
  const restartNeeded = running === undefined ? [] : findFixedChanges(running.instance.spec, spec)
  const { listenAddress: _address, replication: _replication, addressAttachment: _attachment, ...changeable } = spec
  const effective: MTAInstanceSpec = {
    ...changeable,
    ...(fixed.listenAddress === undefined ? {} : { listenAddress: fixed.listenAddress }),
    ports: fixed.ports,
    directories: fixed.directories,
    streamRef: fixed.streamRef,
    shard: fixed.shard,
    ...(fixed.addressAttachment && { addressAttachment: fixed.addressAttachment }),
    ...(fixed.replication && { replication: { ...fixed.replication, peers: spec.replication?.peers ?? [] } }),
  }
  const { mode, submission } = spec
  return {
    instance: { ...instance, spec: effective },
    submission: {
      hostName: spec.addresses[0]?.hostName ?? host.hostName,
      listenAddress: listenAddressOf(effective.listenAddress, host),
      port: effective.ports.submission,
      implicitTlsPort: effective.ports.submissions,
      mode,
      maxMessageBytes: submission.maxMessageBytes,
      maxRecipients: submission.maxRecipients,
      maxConnections: submission.maxConnections,
      allowedNetworks,
    },
    restartNeeded,
  }
}

/** What the schema cannot say. Throws ConfigFault. */
function parseSpec({ metadata, spec }: MTAInstance): Networks {
  const faults: string[] = []
  const allowedNetworks = parseAllowed(spec, faults)
  if (spec.listenAddress !== undefined && isIP(spec.listenAddress) === 0) {
    faults.push(`spec.listenAddress: must be an IP address, was ${JSON.stringify(spec.listenAddress)}`)
  }
  spec.addresses.forEach(({ address }, index) => {
    if (isIP(address) === 0) faults.push(`spec.addresses[${index}].address: must be an IP address, was ${JSON.stringify(address)}`)
  })
  if (spec.replication !== undefined && metadata.namespace === undefined) faults.push(NO_RECORD)
  if (faults.length > 0) throw new ConfigFault(faults)
  return allowedNetworks
}

export const NO_RECORD = 'spec.replication: must come from an API server, which keeps the record of the shard, was from a file'

function parseAllowed(spec: MTAInstanceSpec, faults: string[]): Networks {
  return (spec.submission.allowedNetworks ?? []).flatMap((text, index) => {
    try {
      return parseNetworks([text])
    } catch (error) {
      faults.push(`spec.submission.allowedNetworks[${index}]: ${error instanceof Error ? error.message : String(error)}`)
      return []
    }
  })
}

/** The Pod's own address, or loopback: never every address of a node that others share. */
function listenAddressOf(wanted: string | undefined, host: Host): string {
  return wanted ?? host.podAddress ?? (host.place === 'pod' ? '0.0.0.0' : '127.0.0.1')
}

/** Sockets and files are opened once. The shard is what the volume belongs to. */
const FIXED: readonly (readonly [string, (spec: MTAInstanceSpec) => unknown])[] = [
  ['spec.listenAddress', (spec) => spec.listenAddress],
  ['spec.ports', (spec) => spec.ports],
  ['spec.directories', (spec) => spec.directories],
  ['spec.streamRef', (spec) => spec.streamRef],
  ['spec.shard', (spec) => spec.shard],
  ['spec.addressAttachment', (spec) => spec.addressAttachment ?? 'Existing'],
  // Peers come and go while it runs.
  ['spec.replication', ({ replication }) => replication && { ...replication, peers: [] }],
]

function findFixedChanges(before: MTAInstanceSpec, after: MTAInstanceSpec): string[] {
  return FIXED.filter(([, read]) => canonical(read(before)) !== canonical(read(after))).map(([path]) => path)
}

/** Objects from a file and from the API server list their keys in different orders. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
