import { z } from 'zod'

/**
 * How a provider behaves, as data: what it advertises, and where in the dialogue it refuses, hangs, closes, waits, greylists or throttles.
 * A behaviour can be changed while the provider runs. Nothing in it is left to chance: the same dialogue meets the same answers.
 */

/** Places in the dialogue where a rule can act. `connect` is before the first byte, `tls` is the handshake, `content` is between DATA and the final dot. */
export const Stage = z.enum([
  'connect',
  'greeting',
  'ehlo',
  'starttls',
  'tls',
  'mail',
  'rcpt',
  'data',
  'content',
  'dot',
  'rset',
  'noop',
  'quit',
])
export type Stage = z.infer<typeof Stage>

const Count = z.int().min(1).max(1_000_000_000)
const ByteCount = z.int().min(0).max(1_000_000_000)

/** A whole reply: `450 4.2.1 Try later`; several lines are parted by `\n`, each with its code. `{ip}` becomes the client's address. */
export const ReplyText = z
  .string()
  .max(4096)
  .regex(/^[2-5]\d\d[ -][^\r\n]*(\n[2-5]\d\d[ -][^\r\n]*)*$/, 'must be "CODE text", lines parted by \\n, like "450 4.2.1 Try later"')

export const Action = z.discriminatedUnion('do', [
  z
    .strictObject({ do: z.literal('reply'), reply: ReplyText })
    .describe('Says this instead. A 421 also closes the connection (RFC 5321 section 3.8).'),
  z
    .strictObject({ do: z.literal('hang'), afterBytes: ByteCount.default(0) })
    .describe('Never says more, after so many bytes of what it would have said.'),
  z
    .strictObject({ do: z.literal('close'), afterBytes: ByteCount.default(0), how: z.enum(['fin', 'reset']).default('fin') })
    .describe('Closes the connection, after so many bytes of what it would have said.'),
  z.strictObject({ do: z.literal('delay'), millis: z.int().min(1).max(3_600_000) }).describe('Says it later.'),
])
export type Action = z.infer<typeof Action>

/** All that are given must hold. `localPart` and `sender` may hold `*`; at `dot` one of the recipients must match. */
export const Match = z.strictObject({
  sourceAddress: z.string().min(2).max(45).optional(),
  hello: z.string().min(1).max(255).optional(),
  tls: z.enum(['none', 'some']).optional(),
  sender: z.string().max(320).optional(),
  localPart: z.string().min(1).max(64).optional(),
})
export type Match = z.infer<typeof Match>

export const Rule = z
  .strictObject({
    at: Stage,
    action: Action,
    match: Match.default({}),
    times: Count.optional().describe('Only the first so many times; always when absent.'),
  })
  .refine((rule) => rule.action.do !== 'reply' || !['connect', 'tls', 'content'].includes(rule.at), {
    error: 'at connect, tls and content there is nothing to reply to: must be hang, close or delay',
  })
export type Rule = z.infer<typeof Rule>

export const Capabilities = z.strictObject({
  pipelining: z.boolean().default(true),
  eightBitMime: z.boolean().default(true),
  smtpUtf8: z.boolean().default(false),
  enhancedStatusCodes: z.boolean().default(true),
  dsn: z.boolean().default(false),
  size: ByteCount.nullable().default(52_428_800).describe('What SIZE says, and the most it takes; null: not advertised, 50 MiB are taken.'),
})
export type Capabilities = z.infer<typeof Capabilities>

export const Behaviour = z.strictObject({
  capabilities: Capabilities.default(Capabilities.parse({})),
  tls: z
    .enum(['none', 'good', 'selfSigned', 'wrongName', 'expired'])
    .default('none')
    .describe('Whether STARTTLS is offered, and with what certificate.'),
  listening: z.enum(['open', 'refused']).default('open').describe('refused: nothing listens on its port; a connection is refused at once.'),
  rules: z.array(Rule).max(1000).default([]).describe('The first that matches acts.'),
  greylist: z
    .strictObject({
      delaySeconds: z.number().min(0).max(86_400),
      reply: ReplyText.default('451 4.7.1 Greylisted, please try again later'),
    })
    .optional()
    .describe('A source address, sender and recipient not seen before are deferred until the delay is over.'),
  throttle: z
    .strictObject({
      messages: Count,
      intervalSeconds: z.number().positive().max(86_400),
      at: z.enum(['mail', 'rcpt', 'dot']).default('mail'),
      reply: ReplyText.default('451 4.7.500 Server busy. Please try again later from [{ip}].'),
    })
    .optional()
    .describe('So many messages (recipients at rcpt) per interval and source address.'),
  connectionsPerSource: z
    .strictObject({
      limit: Count,
      reply: ReplyText.default('421 4.7.652 The mail server [{ip}] has exceeded the maximum number of connections. (S3115)'),
    })
    .optional(),
  messagesPerConnection: Count.optional().describe('After so many it closes without a word, as Yahoo does.'),
  recipientsPerMessage: Count.default(1000).describe('More are answered with 452 (RFC 5321 section 4.5.3.1.10).'),
  replyDelayMillis: z.int().min(0).max(600_000).default(0).describe('Every reply waits so long.'),
  idleSeconds: z.int().min(1).max(3600).default(300).describe('A client that says nothing for so long is sent off with 421.'),
})
export type Behaviour = z.infer<typeof Behaviour>
/** What a person or a test writes: everything has a default. */
export type BehaviourInput = z.input<typeof Behaviour>

/** Reads a behaviour; throws an Error that says which field must be what. */
export function parseBehaviour(input: unknown): Behaviour {
  const parsed = Behaviour.safeParse(input)
  if (!parsed.success) throw new RangeError(`not a behaviour:\n${z.prettifyError(parsed.error)}`)
  return parsed.data
}

/** What the large providers really say, so that what reads replies is tried on them. */
export const REPLIES = {
  gmailRateLimited:
    '421-4.7.28 [{ip}] Our system has detected an unusual rate of unsolicited mail originating from your IP address. To\n' +
    '421-4.7.28 protect our users from spam, mail sent from your IP address has been temporarily rate limited.\n' +
    '421 4.7.28 https://support.google.com/mail/?p=UnsolicitedRateLimitError - gsmtp',
  gmailUserTooFast:
    '450-4.2.1 The user you are trying to contact is receiving email too quickly.\n450 4.2.1 Please resend your message at a later time. - gsmtp',
  gmailNoSuchUser:
    '550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 https://support.google.com/mail/?p=NoSuchUser - gsmtp',
  gmailUnauthenticated:
    '550-5.7.26 Your email has been blocked because the sender is unauthenticated.\n550 5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM. - gsmtp',
  microsoftRateLimited:
    '451 4.7.650 The mail server [{ip}] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775)',
  microsoftBusy: '451 4.7.500 Server busy. Please try again later from [{ip}].',
  microsoftTooManyConnections: '421 4.7.652 The mail server [{ip}] has exceeded the maximum number of connections. (S3115)',
  microsoftBlocked:
    "550 5.7.1 Unfortunately, messages from [{ip}] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).",
  microsoftNoSuchUser: '550 5.4.1 Recipient address rejected: Access denied.',
  yahooDeferred:
    '421 4.7.0 [TSS04] Messages from {ip} temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes',
  yahooBlocked:
    '553 5.7.2 [TSS09] All messages from {ip} will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes',
  mailboxFull: '452 4.2.2 The recipient mailbox is full.',
} as const
