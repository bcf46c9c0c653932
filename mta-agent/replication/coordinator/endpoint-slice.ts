import { ANNOTATIONS } from '#crds/group.ts'
import { type EndpointSlice } from '#kube/resources.ts'
import type { Endpoint } from './messages.ts'

/**
 * How clients find the primary: one EndpointSlice for each shard, made by the operator, in which the primary announces itself. It names the epoch,
 * and a write is conditional, so that a late one of the reign before changes nothing. Pure.
 */

export type SlicePlan =
  | { readonly kind: 'announced' }
  | { readonly kind: 'write'; readonly slice: EndpointSlice }
  /** Somebody leads a higher epoch: this reign is over, and has not heard of it yet. */
  | { readonly kind: 'superseded'; readonly epoch: number }
  /** It could never be right: the family of a slice cannot be changed. */
  | { readonly kind: 'impossible'; readonly because: string }

export function planSlice(slice: EndpointSlice, epoch: number, endpoint: Endpoint): SlicePlan {
  const written = epochOf(slice)
  if (written > epoch) return { kind: 'superseded', epoch: written }
  const family = endpoint.address.includes(':') ? 'IPv6' : 'IPv4'
  if (slice.addressType !== family) {
    return {
      kind: 'impossible',
      because: `EndpointSlice ${slice.metadata.name} must be of ${family}, as ${endpoint.address} is, was of ${slice.addressType}`,
    }
  }
  const wanted = sliceWith(slice, epoch, endpoint)
  return isSame(slice, wanted) ? { kind: 'announced' } : { kind: 'write', slice: wanted }
}

/** 0: nobody has announced himself; also when it says what no agent of ours has written, which the next write puts right. */
function epochOf(slice: EndpointSlice): number {
  const epoch = Number(slice.metadata.annotations?.[ANNOTATIONS.epoch] ?? 0)
  return Number.isSafeInteger(epoch) && epoch > 0 ? epoch : 0
}

function sliceWith(slice: EndpointSlice, epoch: number, { address, nodeName, ports }: Endpoint): EndpointSlice {
  return {
    ...slice,
    metadata: { ...slice.metadata, annotations: { ...slice.metadata.annotations, [ANNOTATIONS.epoch]: String(epoch) } },
    endpoints: [
      {
        addresses: [address],
        conditions: { ready: true, serving: true, terminating: false },
        ...(nodeName === undefined ? {} : { nodeName }),
      },
    ],
    ports: ports.map(({ name, port }) => ({ name, port, protocol: 'TCP' })),
  }
}

const isSame = (a: EndpointSlice, b: EndpointSlice): boolean => partsOf(a) === partsOf(b)

/** What is ours of it, in one spelling whatever the order of the server's fields. */
function partsOf({ metadata, endpoints, ports }: EndpointSlice): string {
  return JSON.stringify([
    metadata.annotations?.[ANNOTATIONS.epoch],
    (endpoints ?? []).map(({ addresses, conditions = {}, nodeName }) => [
      addresses,
      conditions.ready,
      conditions.serving,
      conditions.terminating,
      nodeName,
    ]),
    (ports ?? []).map(({ name, port, protocol }) => [name, port, protocol]),
  ])
}
