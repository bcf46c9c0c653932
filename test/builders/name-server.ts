import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type Answer, decode, encode, RECURSION_AVAILABLE, type RecordType } from 'dns-packet'

/** An authoritative name server on loopback, whose zones are data that may change while it runs. */

export type Zone = {
  readonly MX?: readonly (readonly [preference: number, exchange: string])[]
  readonly A?: readonly string[]
  readonly AAAA?: readonly string[]
  readonly CNAME?: string
  readonly ttl?: number
}
/** silent: no answer at all. Names that are not in the table do not exist. */
export type Zones = Readonly<Record<string, Zone | 'SERVFAIL' | 'silent'>>

export type NameServer = AsyncDisposable & {
  /** `address:port`, as the resolver takes it. */
  readonly server: string
  serve(zones: Zones): void
  /** Questions so far, as `MX example.com`. */
  readonly questions: readonly string[]
}

const RCODES = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3 } as const
const AUTHORITATIVE = 0x0400

export async function openNameServer(first: Zones): Promise<NameServer> {
  let zones = first
  const questions: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (bytes, peer) => {
    const query = decode(bytes)
    const question = query.questions?.[0]
    if (question === undefined) return
    questions.push(`${question.type} ${question.name}`)
    const zone = zones[question.name.toLowerCase()]
    if (zone === 'silent') return
    const rcode = zone === undefined ? RCODES.NXDOMAIN : zone === 'SERVFAIL' ? RCODES.SERVFAIL : RCODES.NOERROR
    const answers = typeof zone === 'object' ? answer(zones, zone, question.name, question.type) : []
    socket.send(
      encode({ type: 'response', id: query.id ?? 0, flags: AUTHORITATIVE | RECURSION_AVAILABLE | rcode, questions: [question], answers }),
      peer.port,
      peer.address,
    )
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    server: `127.0.0.1:${socket.address().port}`,
    serve: (next) => void (zones = next),
    questions,
    async [Symbol.asyncDispose]() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

function answer(zones: Zones, zone: Zone, name: string, type: RecordType): Answer[] {
  const ttl = zone.ttl ?? 300
  if (zone.CNAME !== undefined) {
    const target = zones[zone.CNAME]
    return [{ type: 'CNAME', name, ttl, data: zone.CNAME }, ...(typeof target === 'object' ? answer(zones, target, zone.CNAME, type) : [])]
  }
  if (type === 'MX') return (zone.MX ?? []).map(([preference, exchange]) => ({ type: 'MX', name, ttl, data: { preference, exchange } }))
  if (type === 'A') return (zone.A ?? []).map((data) => ({ type: 'A', name, ttl, data }))
  if (type === 'AAAA') return (zone.AAAA ?? []).map((data) => ({ type: 'AAAA', name, ttl, data }))
  return []
}
