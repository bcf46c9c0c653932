import type { DeliveryOutcome, FailureScope } from '../domain/delivery-outcome.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'

/**
 * What a reply means for a recipient, and of how much of the world it speaks. The only place that decides between delivered, deferred
 * and bounced from a reply. A reply nobody foresaw is judged by its first digit (RFC 5321 section 4.2.1), never guessed from its words.
 */

/** The command that was answered. */
export type Stage = 'greeting' | 'ehlo' | 'mail' | 'rcpt' | 'data' | 'dot'

type Rule = {
  /** On `CODE ENHANCED TEXT`. */
  readonly match: RegExp
  readonly stage?: Stage
  readonly verdict: FailureScope | 'bounced'
  readonly because: string
}

// First match wins, so the narrow rules stand above the wide ones.
const RULES: readonly Rule[] = [
  // One mailbox, whatever else the reply looks like.
  {
    match: /^4\d\d .*user .*receiving (mail|email) too quickly/i,
    verdict: 'recipient',
    because: 'a rate limit of one mailbox (Gmail 4.2.1, Yahoo)',
  },
  { match: /^4\d\d .*receiving (mail|email) at a rate/i, verdict: 'recipient', because: 'a rate limit of one mailbox (Gmail 4.2.1)' },
  { match: /^4\d\d 4\.2\./, verdict: 'recipient', because: 'RFC 3463 X.2: the state of the mailbox' },
  { match: /^4\d\d 4\.1\.[0-6]\b/, verdict: 'recipient', because: 'RFC 3463 X.1: the address of the recipient' },
  { match: /^4\d\d .*gr[ae]y-?list/i, verdict: 'recipient', because: 'greylisting goes by sender, recipient and address: others may pass' },

  // This address of ours, at this host.
  {
    match: /^421 .*max(imum)? messages? per connection/i,
    verdict: 'route',
    because: 'Yahoo: the connection has had its share, the next may follow at once',
  },
  {
    match: /^4\d\d .*rate of unsolicited mail originating from your IP/i,
    verdict: 'route',
    because: 'Gmail 4.7.28: the rate of this source address',
  },
  {
    match: /^4\d\d .*unusual rate of unsolicited mail/i,
    verdict: 'destination',
    because: 'Gmail 4.7.28: the rate of our domain, from whichever address',
  },
  {
    match: /^4\d\d .*(rate limited due to IP reputation|maximum number of connections)/i,
    verdict: 'route',
    because: 'Microsoft 4.7.650 to 652: this source address',
  },
  { match: /^4\d\d .*\bRP-00[123]\b/, verdict: 'route', because: 'Outlook: rate of this source address' },
  { match: /^4\d\d .*\[TS(S)?\d\d\]/, verdict: 'destination', because: 'Yahoo TS03, TSS04: deferred as a whole for hours' },
  { match: /^4\d\d .*server busy\. please try again later from/i, verdict: 'destination', because: 'Microsoft 4.7.500' },
  { match: /^4\d\d .*(PFA|proxy) agent busy/i, verdict: 'destination', because: 'Microsoft 4.7.700' },
  { match: /^4\d\d 4\.7\.(23|25)\b/, verdict: 'route', because: 'Gmail: PTR record of this source address' },
  { match: /^4\d\d 4\.7\.(26|27|29|30|31|32)\b/, verdict: 'message', because: 'Gmail: authentication of this message' },

  // Permanent only by its number.
  {
    match: /^552 (?!5\.2\.2|5\.3\.4)/,
    stage: 'rcpt',
    verdict: 'recipient',
    because: 'RFC 5321 4.5.3.1.10: old servers say 552 for too many recipients',
  },
  {
    match: /^5/,
    stage: 'greeting',
    verdict: 'route',
    because: 'a host that greets with 5yz refuses this session; another host, or a later day, may not',
  },
  { match: /^5/, stage: 'ehlo', verdict: 'route', because: 'as in the greeting: nothing was said of any message yet' },
  { match: /^5/, verdict: 'bounced', because: 'RFC 5321 4.2.1: do not ask the same again' },

  { match: /^421/, verdict: 'route', because: 'RFC 5321 3.8: the host is closing this session' },
  { match: /^4\d\d 4\.3\./, verdict: 'route', because: 'RFC 3463 X.3: the state of this host' },
  { match: /^4\d\d 4\.4\./, verdict: 'destination', because: 'RFC 3463 X.4: routing behind the host' },
  { match: /^4\d\d 4\.7\./, verdict: 'destination', because: 'RFC 3463 X.7: policy refuses us for now' },
  { match: /^4/, stage: 'rcpt', verdict: 'recipient', because: 'RFC 5321 4.2.1: try this command again later' },
  { match: /^4/, stage: 'greeting', verdict: 'route', because: 'the host takes no session now' },
  { match: /^4/, stage: 'ehlo', verdict: 'route', because: 'the host takes no session now' },
  { match: /^4/, verdict: 'message', because: 'RFC 5321 4.2.1, of a command that speaks of the whole message' },
]

export function classifyReply(reply: SmtpReply, stage: Stage): DeliveryOutcome {
  // 2yz to DATA asks for nothing and takes nothing: no content has left (RFC 5321 section 4.1.1.4).
  if (stage !== 'data' && reply.code >= 200 && reply.code < 300) return { kind: 'delivered', reply }
  const line = `${reply.code} ${reply.enhanced === undefined ? '' : `${reply.enhanced} `}${reply.text}`
  const rule = RULES.find((candidate) => (candidate.stage === undefined || candidate.stage === stage) && candidate.match.test(line))
  // 2yz instead of 354, 354 where no content was asked for, or a code this table does not know: the host is confused, the mail is not at fault.
  if (rule === undefined) return { kind: 'deferred', reply, scope: 'route' }
  return rule.verdict === 'bounced' ? { kind: 'bounced', reply, because: 'Refused' } : { kind: 'deferred', reply, scope: rule.verdict }
}

/** RFC 5321 section 4.5.3.1.10: after some recipients were accepted this asks for the others in another transaction, at once. */
export const isTooManyRecipients = (reply: SmtpReply): boolean =>
  (reply.code === 452 && reply.enhanced !== '4.2.2' && reply.enhanced !== '4.3.1') || (reply.code === 552 && reply.enhanced === undefined)

/**
 * A temporary no that is about us (RFC 3463 X.7): the other hosts of the provider would say the same, and count the asking. Big providers
 * say it with 421, which otherwise only closes a session.
 */
export const isPolicyDeferral = (reply: SmtpReply): boolean => reply.code < 500 && reply.enhanced?.startsWith('4.7.') === true
