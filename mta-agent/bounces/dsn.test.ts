import { simpleParser } from 'mailparser'
import { expect, test } from 'vitest'
import { buildReport, judgeReport, type ReportInput } from './dsn.ts'

const ORIGINAL = 'From: sender@example.org\r\nTo: gone@example.com\r\nSubject: Hello\r\n\r\nThe body.\r\n'
const AT = Date.UTC(2026, 10, 24, 12, 0, 0)

const input = (rest: Partial<ReportInput> = {}): ReportInput => ({
  reportingHost: 'out.example.org',
  sender: 'sender@example.org',
  recipients: [
    {
      address: 'gone@example.com',
      originalRecipient: 'rfc822;first@example.com',
      action: 'failed',
      status: '5.1.1',
      reply: { code: 550, enhanced: '5.1.1', text: 'No such user' },
      remoteHost: 'mx.example.com',
    },
  ],
  original: { content: Buffer.from(ORIGINAL), envelopeId: 'QQ314', acceptedAt: AT - 3_600_000 },
  at: AT,
  boundary: 'report-abc',
  messageId: '1-7.abc@out.example.org',
  ...rest,
})

/** A reader that shares no line with the writer: parts by boundary, fields unfolded. */
async function read(given: ReportInput) {
  const { content, body, smtpUtf8 } = buildReport(given)
  const parsed = await simpleParser(content)
  const parts = content
    .toString()
    .split(`\r\n--${given.boundary}`)
    .slice(1, -1)
    .map((part) => part.replace(/^\r\n/, ''))
  const [status = ''] = parts.slice(1)
  const [, ...blocks] = status.replaceAll(/\r\n[ \t]+/g, ' ').split('\r\n\r\n')
  const fields = blocks.map((block) =>
    Object.fromEntries(
      block
        .split('\r\n')
        .filter(Boolean)
        .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    ),
  )
  return { parsed, parts, fields, body, smtpUtf8, raw: content.toString() }
}

test('the header says that it is an automatic report', async () => {
  const { parsed, body, smtpUtf8 } = await read(input())
  const contentType = parsed.headers.get('content-type')
  expect(contentType).toMatchObject({ value: 'multipart/report', params: { 'report-type': 'delivery-status', boundary: 'report-abc' } })
  expect([parsed.from?.text, parsed.subject, parsed.messageId, parsed.headers.get('auto-submitted'), parsed.date?.getTime()]).toEqual([
    '"Mail Delivery System" <MAILER-DAEMON@out.example.org>',
    'Undelivered mail returned to sender',
    '<1-7.abc@out.example.org>',
    'auto-replied',
    AT,
  ])
  expect([body, smtpUtf8]).toEqual(['7BIT', false])
})

test('the delivery status has every field of RFC 3464', async () => {
  const { fields } = await read(input())
  expect(fields).toEqual([
    { 'Reporting-MTA': 'dns; out.example.org', 'Original-Envelope-Id': 'QQ314', 'Arrival-Date': 'Tue, 24 Nov 2026 11:00:00 +0000' },
    {
      'Original-Recipient': 'rfc822; first@example.com',
      'Final-Recipient': 'rfc822; gone@example.com',
      Action: 'failed',
      Status: '5.1.1',
      'Remote-MTA': 'dns; mx.example.com',
      'Diagnostic-Code': 'smtp; 550 5.1.1 No such user',
      'Last-Attempt-Date': 'Tue, 24 Nov 2026 12:00:00 +0000',
    },
  ])
})

test('one report tells of all recipients, the gravest in the subject', async () => {
  const [failed] = input().recipients
  const late = {
    address: 'late@example.com',
    action: 'delayed',
    status: '4.4.1',
    reply: { code: 451, enhanced: '4.4.1', text: 'no answer' },
    willRetryUntil: AT + 86_400_000,
  } as const
  const { parsed, fields } = await read(input({ recipients: [late, failed!] }))
  expect(parsed.subject).toBe('Undelivered mail returned to sender')
  expect(
    fields
      .slice(1)
      .map(({ 'Final-Recipient': recipient, Action, 'Will-Retry-Until': until, 'Diagnostic-Code': code }) => [
        recipient,
        Action,
        until,
        code,
      ]),
  ).toEqual([
    ['rfc822; late@example.com', 'delayed', 'Wed, 25 Nov 2026 12:00:00 +0000', 'x-mtafleet; 451 4.4.1 no answer'],
    ['rfc822; gone@example.com', 'failed', undefined, 'smtp; 550 5.1.1 No such user'],
  ])
  expect(parsed.text).toContain('<gone@example.com>\n    mx.example.com said: 550 5.1.1 No such user')
})

test('the header of the original goes back, and all of it when RET=FULL', async () => {
  const { parts: headers } = await read(input())
  expect(headers[2]).toBe('Content-Type: text/rfc822-headers\r\n\r\nFrom: sender@example.org\r\nTo: gone@example.com\r\nSubject: Hello\r\n')
  const { parts: full } = await read(input({ original: { ...input().original, returnContent: 'FULL' } }))
  expect(full[2]).toBe(`Content-Type: message/rfc822\r\n\r\n${ORIGINAL}`)
  const large = Buffer.concat([Buffer.from(ORIGINAL), Buffer.alloc(300_000, 'x')])
  const { parts: tooLarge } = await read(input({ original: { ...input().original, content: large, returnContent: 'FULL' } }))
  expect(tooLarge[2]).toMatch(/^Content-Type: text\/rfc822-headers/)
})

test('where the original is damaged nothing of it goes back, and the text says so', async () => {
  const { content: _content, ...original } = input().original
  const { parts, parsed, fields } = await read(input({ original }))
  expect(parts.length).toBe(2)
  expect(parsed.text).toContain('The message itself cannot be returned: it was damaged where it lay.')
  expect(fields[1]).toMatchObject({ 'Final-Recipient': 'rfc822; gone@example.com', Action: 'failed' })
  expect([judgeReport('a@example.org', undefined), judgeReport('', undefined)]).toEqual([
    { kind: 'report' },
    { kind: 'silent', because: 'NullSender' },
  ])
})

test('nothing that a server said can end a line, a header or a part', async () => {
  const text = `evil\r\nBcc: victim@example.net\r\n\r\n--report-abc--\r\n${'x'.repeat(3000)} ${'word '.repeat(100)}`
  const { raw, fields } = await read(input({ recipients: [{ ...input().recipients[0]!, reply: { code: 550, text } }] }))
  expect(raw.split('\r\n').filter((line) => line.startsWith('Bcc') || line === '--report-abc--').length).toBe(1)
  expect(Math.max(...raw.split('\r\n').map((line) => line.length))).toBeLessThan(998)
  expect(/[^\r]\n|\r[^\n]/.test(raw)).toBe(false)
  expect(fields.length).toBe(2)
})

test('internationalised addresses make an internationalised report (RFC 6533)', async () => {
  const [failed] = input().recipients
  const { parts, fields, body, smtpUtf8 } = await read(input({ recipients: [{ ...failed!, address: 'jörg@example.com' }] }))
  expect([body, smtpUtf8]).toEqual(['8BITMIME', true])
  expect(parts[1]).toMatch(/^Content-Type: message\/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n/)
  expect(parts[2]).toMatch(/^Content-Type: message\/global-headers\r\n/)
  expect(fields[1]).toMatchObject({ 'Final-Recipient': 'utf-8; jörg@example.com' })
})

test('a reply in UTF-8 stays readable in the text and becomes ASCII in the fields', async () => {
  const [failed] = input().recipients
  const { parsed, fields } = await read(input({ recipients: [{ ...failed!, reply: { code: 550, text: 'Empfänger unbekannt' } }] }))
  expect(parsed.text).toContain('Empfänger unbekannt')
  expect(fields[1]).toMatchObject({ 'Diagnostic-Code': 'smtp; 550 Empf?nger unbekannt' })
})

test('a report with a part of 8 bits says so as a whole (RFC 2045 section 6.4), another does not', async () => {
  const encodingOf = async (given: ReportInput) => (await read(given)).parsed.headers.get('content-transfer-encoding')
  const original = { ...input().original, content: Buffer.from(`Subject: Grüße\r\n${ORIGINAL}`) }
  expect([await encodingOf(input({ original })), await encodingOf(input())]).toEqual(['8bit', undefined])
})

test('lines are cut by octets, and never within a character', async () => {
  const [failed] = input().recipients
  const { raw, parsed } = await read(input({ recipients: [{ ...failed!, reply: { code: 550, text: '😀'.repeat(500) } }] }))
  expect(Math.max(...raw.split('\r\n').map((line) => Buffer.byteLength(line)))).toBeLessThan(998)
  expect(parsed.text?.replaceAll(/[^😀]/gu, '')).toBe('😀'.repeat(500))
})

test.each([
  ['the null sender', '', ORIGINAL, 'NullSender'],
  ['MAILER-DAEMON', 'MAILER-DAEMON@example.org', ORIGINAL, 'MailerDaemon'],
  ['an automatic reply', 'a@example.org', `Auto-Submitted: auto-replied (vacation)\r\n${ORIGINAL}`, 'Reply'],
  [
    'a report from a sender that should have been null',
    'a@example.org',
    `Content-Type: multipart/report;\r\n\tboundary=x\r\n${ORIGINAL}`,
    'Report',
  ],
  ['a folded header field', 'a@example.org', `Content-Type:\r\n multipart/report; boundary=x\r\n${ORIGINAL}`, 'Report'],
  ['mail from a mailer daemon', 'a@example.org', `From: "x" <mailer-daemon@example.net>\r\n${ORIGINAL}`, 'MailerDaemon'],
  ['mail that forbids it', 'a@example.org', `X-Auto-Response-Suppress: DR, All\r\n${ORIGINAL}`, 'Suppressed'],
  ['ordinary mail', 'a@example.org', ORIGINAL, undefined],
  [
    'a notification of a program, whose sender lives on bounces',
    'a@example.org',
    `Auto-Submitted: auto-generated\r\n${ORIGINAL}`,
    undefined,
  ],
  ['mail that only talks of reports', 'a@example.org', `${ORIGINAL}Content-Type: multipart/report\r\n`, undefined],
])('a report about %s', (_what, sender, content, because) => {
  expect(judgeReport(sender, Buffer.from(content))).toEqual(because === undefined ? { kind: 'report' } : { kind: 'silent', because })
})
