import { expect, test } from 'vitest'
import { REPLIES } from '#test/internet/behaviour.ts'
import { classifyReply, isTooManyRecipients, type Stage } from './classify-reply.ts'
import { withoutLines } from './connection.ts'
import { ReplyParser } from './reply-parser.ts'

const judge = (text: string, stage: Stage): string => {
  const [reply] = new ReplyParser().feed(Buffer.from(`${text.replaceAll('\n', '\r\n')}\r\n`))
  const outcome = classifyReply(withoutLines(reply!), stage)
  return outcome.kind === 'deferred' ? `deferred ${outcome.scope}` : outcome.kind
}

test.each<[text: string, stage: Stage, wanted: string]>([
  [REPLIES.gmailRateLimited, 'mail', 'deferred route'],
  [REPLIES.gmailUserTooFast, 'rcpt', 'deferred recipient'],
  [REPLIES.gmailNoSuchUser, 'rcpt', 'bounced'],
  [REPLIES.gmailUnauthenticated, 'dot', 'bounced'],
  [REPLIES.microsoftRateLimited, 'mail', 'deferred route'],
  [REPLIES.microsoftBusy, 'mail', 'deferred destination'],
  [REPLIES.microsoftTooManyConnections, 'greeting', 'deferred route'],
  [REPLIES.microsoftBlocked, 'mail', 'bounced'],
  [REPLIES.microsoftNoSuchUser, 'rcpt', 'bounced'],
  [REPLIES.yahooDeferred, 'mail', 'deferred destination'],
  [REPLIES.yahooBlocked, 'mail', 'bounced'],
  [REPLIES.mailboxFull, 'rcpt', 'deferred recipient'],
  [
    '421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your SPF domain [example.org]',
    'dot',
    'deferred destination',
  ],
  ['421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred', 'mail', 'deferred destination'],
  ['421 Max message per connection reached', 'mail', 'deferred route'],
  ['450 User is receiving mail too quickly', 'rcpt', 'deferred recipient'],
  ['421 4.7.26 This mail is unauthenticated', 'dot', 'deferred message'],
  ['451 4.7.1 Greylisted, please try again later', 'rcpt', 'deferred recipient'],
  ['250 2.0.0 Ok', 'dot', 'delivered'],
  ['251 User not local; will forward', 'rcpt', 'delivered'],
  ['450 busy', 'rcpt', 'deferred recipient'],
  ['451 try again', 'dot', 'deferred message'],
  ['452 4.3.1 no space', 'mail', 'deferred route'],
  ['451 4.4.0 DNS trouble', 'rcpt', 'deferred destination'],
  ['552 too many recipients', 'rcpt', 'deferred recipient'],
  ['552 5.2.2 mailbox full for good', 'rcpt', 'bounced'],
  ['552 5.3.4 too large', 'dot', 'bounced'],
  ['554 no SMTP service here', 'greeting', 'deferred route'],
  ['554 transaction failed', 'dot', 'bounced'],
  ['354 go ahead', 'dot', 'deferred route'],
  ['250 2.1.5 Ok', 'data', 'deferred route'],
])('%s, in answer to %s, is %s', (text, stage, wanted) => {
  expect(judge(text, stage)).toBe(wanted)
})

test.each([
  [{ code: 452, enhanced: '4.5.3', text: 'Too many recipients' }, true],
  [{ code: 452, text: 'Too many recipients' }, true],
  [{ code: 552, text: 'Too many recipients' }, true],
  [{ code: 452, enhanced: '4.2.2', text: 'Mailbox full' }, false],
  [{ code: 452, enhanced: '4.3.1', text: 'Insufficient storage' }, false],
  [{ code: 450, enhanced: '4.2.0', text: 'Greylisted' }, false],
])('too many recipients: %j is %s', (reply, wanted) => {
  expect(isTooManyRecipients(reply)).toBe(wanted)
})
