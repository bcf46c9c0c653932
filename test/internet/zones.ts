import {
  addressOf,
  addressV6Of,
  BLACKHOLE_HOST,
  DEAD_HOST,
  DNS_HOST,
  hostNamesOf,
  PROVIDERS,
  REFUSING_HOST,
  SILENT_DNS_HOST,
} from './catalogue.ts'

/** The zones of the small internet, made from the catalogue. Pure. */
export type Zone = {
  readonly name: string
  /** The master file (RFC 1035 section 5), or broken: configured, but cannot be loaded, so that every question about it is answered with SERVFAIL. */
  readonly text: string | { readonly broken: true }
}

type Entry = readonly [owner: string, type: 'A' | 'AAAA' | 'MX' | 'CNAME' | 'NS' | 'PTR' | 'TXT', data: string]

const NODES = [1, 2, 3, 4, 5, 6, 7, 8, 9]
const SLOTS = [1, 2, 3, 4]
/** Seconds. Short, for a scenario may wait for it. */
const TTL = 5

/** Source addresses of the senders: node N has 192.0.2.N1 to N4 and 2001:db8:0:N::1 to 4, called mta-N1.senders.example to mta-N4. */
export const SENDERS = NODES.flatMap((node) =>
  SLOTS.map((slot) => ({
    name: `mta-${node}${slot}.senders.example`,
    address: `192.0.2.${node}${slot}`,
    addressV6: `2001:db8:0:${node}::${slot}`,
  })),
)

export const ZONES: readonly Zone[] = [
  { name: 'example', text: masterFile([...domains(), ...oddities(), ...senders()]) },
  { name: 'servfail.example', text: { broken: true } },
  { name: '2.0.192.in-addr.arpa', text: masterFile(SENDERS.map(({ name, address }) => [pointerName(address), 'PTR', `${name}.`])) },
  { name: '100.51.198.in-addr.arpa', text: masterFile(hosts().map(({ name, host }) => [pointerName(addressOf(host)), 'PTR', `${name}.`])) },
  {
    name: '0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
    text: masterFile(SENDERS.map(({ name, addressV6 }) => [pointerName(addressV6), 'PTR', `${name}.`])),
  },
  {
    name: '0.0.1.0.8.b.d.0.1.0.0.2.ip6.arpa',
    text: masterFile(hosts().map(({ name, host }) => [pointerName(addressV6Of(host)), 'PTR', `${name}.`])),
  },
]

function masterFile(entries: readonly Entry[]): string {
  const lines = entries.map(([owner, type, data]) => `${owner}. ${TTL} IN ${type} ${data}`)
  return [`@ ${TTL} IN SOA ns.example. hostmaster.example. 1 3600 600 86400 ${TTL}`, `@ ${TTL} IN NS ns.example.`, ...lines, ''].join('\n')
}

function hosts(): readonly { readonly name: string; readonly host: number }[] {
  return PROVIDERS.flatMap(hostNamesOf)
}

function domains(): Entry[] {
  const addresses = hosts().flatMap(({ name, host }): Entry[] => [
    [name, 'A', addressOf(host)],
    [name, 'AAAA', addressV6Of(host)],
  ])
  const exchanges = PROVIDERS.filter(({ name }) => name !== 'implicit').flatMap((plan) =>
    hostNamesOf(plan).map(({ name }): Entry => [plan.domain, 'MX', `${plan.hosts.length === 1 ? 10 : 20} ${name}.`]),
  )
  return [...addresses, ...exchanges]
}

/** What can be wrong or unusual about a domain that mail is sent to; README.md has the list for people. */
function oddities(): Entry[] {
  return [
    ['ns.example', 'A', addressOf(DNS_HOST)],
    ['ns.example', 'AAAA', addressV6Of(DNS_HOST)],
    // A dead host before two living ones of equal preference.
    ['preferences.example', 'MX', '10 dead.preferences.example.'],
    ['dead.preferences.example', 'A', addressOf(DEAD_HOST)],
    // A host that refuses connections, then plain's.
    ['fallback.example', 'MX', '10 mx.refused.example.'],
    ['fallback.example', 'MX', '20 mx.plain.example.'],
    ['refused.example', 'MX', '10 mx.refused.example.'],
    ['mx.refused.example', 'A', addressOf(REFUSING_HOST)],
    ['dead.example', 'MX', '10 mx.dead.example.'],
    ['mx.dead.example', 'A', addressOf(DEAD_HOST)],
    ['blackhole.example', 'MX', '10 mx.blackhole.example.'],
    ['mx.blackhole.example', 'A', addressOf(BLACKHOLE_HOST)],
    ['nullmx.example', 'MX', '0 .'],
    ['nullmx.example', 'A', addressOf(11)],
    // Exists, but has neither MX nor addresses.
    ['nomail.example', 'TXT', '"no mail here"'],
    ['mx-nowhere.example', 'MX', '10 there-is-no-such-host.example.'],
    // An A that must not be used: there is an MX, even though it leads nowhere (RFC 5321 section 5.1).
    ['mx-nowhere.example', 'A', addressOf(11)],
    ['mx-cname.example', 'MX', '10 alias-host.example.'],
    ['alias-host.example', 'CNAME', 'mx.plain.example.'],
    ['alias.example', 'CNAME', 'plain.example.'],
    ['silent.example', 'NS', 'ns.silent.example.'],
    ['ns.silent.example', 'A', addressOf(SILENT_DNS_HOST)],
    ['servfail.example', 'NS', 'ns.example.'],
  ]
}

function senders(): Entry[] {
  return SENDERS.flatMap(({ name, address, addressV6 }): Entry[] => [
    [name, 'A', address],
    [name, 'AAAA', addressV6],
  ])
}

/** `192.0.2.11` → `11.2.0.192.in-addr.arpa`; an IPv6 address by its 32 digits (RFC 3596 section 2.5). */
export function pointerName(address: string): string {
  if (!address.includes(':')) return `${address.split('.').toReversed().join('.')}.in-addr.arpa`
  const [head = '', tail = ''] = address.split('::')
  const words = (part: string): string[] => part.split(':').filter((word) => word !== '')
  const missing = 8 - words(head).length - words(tail).length
  const all = [...words(head), ...Array.from({ length: missing }, () => '0'), ...words(tail)]
  const digits = all.flatMap((word) => word.padStart(4, '0').split(''))
  return `${digits.toReversed().join('.')}.ip6.arpa`
}
