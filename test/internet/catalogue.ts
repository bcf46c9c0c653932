import type { BehaviourInput } from './behaviour.ts'
import { REPLIES } from './behaviour.ts'

/**
 * Who lives in the small internet: names, addresses, behaviour to begin with. Pure data; zones and providers are both made from it, so that
 * DNS and reality cannot disagree. Addresses are those of RFC 5737 and RFC 3849, which nobody has.
 */
export type ProviderPlan = {
  /** Mail for NAME.example arrives here, unless `domain` says otherwise. */
  readonly name: string
  readonly domain: string
  /** Last number of its addresses: 198.51.100.N and 2001:db8:100::N. Several are several hosts. */
  readonly hosts: readonly [number, ...number[]]
  /** `own` is the provider in provider.ts; `postfix` a real one. */
  readonly software: 'own' | 'postfix'
  readonly behaviour: BehaviourInput
  /** For people. */
  readonly about: string
}

const own = (name: string, host: number, about: string, behaviour: BehaviourInput = {}): ProviderPlan => ({
  name,
  domain: `${name}.example`,
  hosts: [host],
  software: 'own',
  behaviour,
  about,
})

export const PROVIDERS: readonly ProviderPlan[] = [
  own('senders', 10, 'where reports to our own senders go (senders.example)', { tls: 'good' }),
  own('plain', 11, 'takes everything, no TLS'),
  own('starttls', 12, 'takes everything, STARTTLS with a good certificate', { tls: 'good' }),
  own('selfsigned', 13, 'STARTTLS with a certificate that nobody vouches for', { tls: 'selfSigned' }),
  own('wrongname', 14, 'STARTTLS with a good certificate of somebody else', { tls: 'wrongName' }),
  own('expired', 15, 'STARTTLS with a certificate that is over', { tls: 'expired' }),
  own('greylist', 16, 'defers what it has not seen before for 5 s', { greylist: { delaySeconds: 5 } }),
  own('throttle', 17, '50 messages in 5 s per source address, then 451 as Microsoft says it', {
    tls: 'good',
    throttle: { messages: 50, intervalSeconds: 5, reply: REPLIES.microsoftRateLimited },
  }),
  own('throttle421', 18, '100 messages in 10 s per source address, then 421 as Gmail says it', {
    tls: 'good',
    throttle: { messages: 100, intervalSeconds: 10, reply: REPLIES.gmailRateLimited },
  }),
  // Of the recipient, not of the route: an agent that backs off from the host would need hours to get through twenty failures.
  own('flaky', 19, 'fails for the first 20 recipients, then takes all', {
    rules: [{ at: 'rcpt', times: 20, action: { do: 'reply', reply: REPLIES.gmailUserTooFast } }],
  }),
  own('failing', 20, 'always fails for now', { rules: [{ at: 'rcpt', action: { do: 'reply', reply: REPLIES.mailboxFull } }] }),
  own('hang', 21, 'says nothing, not even the greeting', { rules: [{ at: 'greeting', action: { do: 'hang' } }] }),
  own('refusing', 22, 'refuses every recipient for good', {
    rules: [{ at: 'rcpt', action: { do: 'reply', reply: REPLIES.gmailNoSuchUser } }],
  }),
  own('partial', 23, 'nobody* does not exist, full* has no room, the others are taken', {
    rules: [
      { at: 'rcpt', match: { localPart: 'nobody*' }, action: { do: 'reply', reply: '550 5.1.1 No such user here' } },
      { at: 'rcpt', match: { localPart: 'full*' }, action: { do: 'reply', reply: REPLIES.mailboxFull } },
    ],
  }),
  own('closing', 24, 'closes the connection instead of answering DATA', { rules: [{ at: 'data', action: { do: 'close' } }] }),
  own('slow', 25, 'every reply takes 200 ms', { replyDelayMillis: 200 }),
  own('yahoo', 26, 'closes without a word after 20 messages on a connection, takes 5 connections per source address', {
    tls: 'good',
    messagesPerConnection: 20,
    connectionsPerSource: { limit: 5, reply: REPLIES.yahooDeferred },
  }),
  { ...own('postfix', 27, 'a real Postfix; nobody@ does not exist'), software: 'postfix' },
  own('bare', 28, 'no extension at all', {
    capabilities: { pipelining: false, eightBitMime: false, enhancedStatusCodes: false, size: null },
  }),
  own('modern', 29, 'SMTPUTF8 and DSN too', { tls: 'good', capabilities: { smtpUtf8: true, dsn: true } }),
  { ...own('preferences', 31, 'two hosts of equal preference behind a dead one'), hosts: [31, 32] },
  own('implicit', 34, 'A and AAAA, no MX'),
]

export const NETWORK = '198.51.100'
export const NETWORK_V6 = '2001:db8:100::'
/** The name server, and the one that a delegation names but that never answers. */
export const DNS_HOST = 53
export const SILENT_DNS_HOST = 54
/** An address that is there, but where nothing listens; one that is unreachable; and one that swallows every packet, so that a connection only times out. */
export const REFUSING_HOST = 33
export const DEAD_HOST = 250
export const BLACKHOLE_HOST = 251

export const addressOf = (host: number): string => `${NETWORK}.${host}`
/** The decimal number is written as it stands: host 27 is ::27. */
export const addressV6Of = (host: number): string => `${NETWORK_V6}${host}`

/** Every host that must be on the bridge. */
export const HOSTS: readonly number[] = [DNS_HOST, SILENT_DNS_HOST, REFUSING_HOST, ...PROVIDERS.flatMap(({ hosts }) => hosts)]

/** `mx.plain.example`; with several hosts `mx1.…`, `mx2.…`. The host of a domain without MX is the domain. */
export function hostNamesOf(plan: ProviderPlan): readonly { readonly name: string; readonly host: number }[] {
  if (plan.name === 'implicit') return [{ name: plan.domain, host: plan.hosts[0] }]
  return plan.hosts.map((host, index) => ({ name: plan.hosts.length === 1 ? `mx.${plan.domain}` : `mx${index + 1}.${plan.domain}`, host }))
}
