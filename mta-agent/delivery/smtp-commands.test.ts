import fc from 'fast-check'
import { expect, test } from 'vitest'
import {} from '#test/builders/delivery.ts'
import { recipient } from '#test/builders/queue.ts'
import { formatMail, formatRcpt, formatXtext, needsSmtpUtf8, NO_CAPABILITIES, parseCapabilities, stuffDots } from './smtp-commands.ts'

const ALL = { pipelining: true, startTls: false, eightBitMime: true, smtpUtf8: true, dsn: true, sizeLimit: 0 }
const mail = { sender: 'a@example.org', sizeBytes: 1234, eightBit: true, utf8: true, returnContent: 'FULL', envelopeId: 'x y+z' } as const

test('EHLO keywords are read without regard to case; SIZE with or without a number', () => {
  const lines = ['mx.example.com', 'pipelining', 'SIZE 52428800', '8BITMIME', 'SmtpUtf8', 'STARTTLS', 'DSN', 'LIMITS RCPTMAX=50']
  expect(parseCapabilities({ code: 250, text: '', lines })).toEqual({ ...ALL, startTls: true, sizeLimit: 52428800 })
  expect(parseCapabilities({ code: 250, text: '', lines: ['mx', 'SIZE'] })).toEqual({ ...NO_CAPABILITIES, sizeLimit: 0 })
  expect(parseCapabilities({ code: 250, text: '', lines: ['STARTTLS'] }), 'the first line is the name').toEqual(NO_CAPABILITIES)
})

test('MAIL says only what is offered', () => {
  expect(formatMail(mail, ALL)).toBe('MAIL FROM:<a@example.org> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x+20y+2Bz\r\n')
  expect(formatMail({ ...mail, sender: '', utf8: false }, NO_CAPABILITIES)).toBe('MAIL FROM:<>\r\n')
})

test('RCPT carries the wishes of its own recipient', () => {
  const to = recipient('b@example.com', { notify: ['SUCCESS', 'FAILURE'], originalRecipient: 'rfc822;b=c@example.com' })
  expect(formatRcpt(to, ALL)).toBe('RCPT TO:<b@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+3Dc@example.com\r\n')
  expect(formatRcpt(to, NO_CAPABILITIES)).toBe('RCPT TO:<b@example.com>\r\n')
})

test('an original recipient is said in ASCII, whatever the server offers (RFC 6533 section 3)', () => {
  const to = recipient('b@example.com', { originalRecipient: 'utf-8;jörg+😀@example.com' })
  expect(formatRcpt(to, ALL)).toBe('RCPT TO:<b@example.com> ORCPT=utf-8;j\\x{F6}rg+2B\\x{1F600}@example.com\r\n')
})

test.each(['a@b.example\r\nDATA', 'a>@b.example', 'a\u0000@b.example', '"a\n"@b.example'])(
  'an address that is no address is never said: %j',
  (address) => {
    expect(() => formatRcpt(recipient(address), ALL)).toThrow(RangeError)
  },
)

test('a quoted local part may have angle brackets', () => {
  expect(formatRcpt(recipient('"a>b"@example.com'), ALL)).toBe('RCPT TO:<"a>b"@example.com>\r\n')
})

test('xtext is printable ASCII and says the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const xtext = formatXtext(text)
      expect(xtext).toMatch(/^([!-*,-<>-~]|\+[0-9A-F]{2})*$/)
      const octets = [...xtext.matchAll(/\+(..)|(.)/g)].map(([, hex, plain]) =>
        hex === undefined ? plain!.charCodeAt(0) : Number.parseInt(hex, 16),
      )
      expect(Buffer.from(octets).toString()).toBe(text)
    }),
  )
})

/** What a server makes of it (RFC 5321 section 4.5.2). */
const unstuff = (wire: Buffer): string =>
  wire
    .toString('latin1')
    .split('\r\n')
    .map((line) => (line.startsWith('.') ? line.slice(1) : line))
    .join('\r\n')

test('dots are doubled so that the server reads what was sent, and never an early end', () => {
  const line = fc.array(fc.constantFrom('.', 'a', ' ', '..'), { maxLength: 4 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), fc.boolean(), (lines, ends) => {
      const content = Buffer.from(lines.join('\r\n') + (ends ? '\r\n' : ''))
      const stuffed = stuffDots(content)
      const whole = content.length === 0 || content.toString().endsWith('\r\n') ? content : Buffer.concat([content, Buffer.from('\r\n')])
      expect(unstuff(stuffed)).toBe(whole.toString())
      expect(`\r\n${stuffed.toString()}`).not.toContain('\r\n.\r\n')
    }),
  )
})

test('content with nothing to change is not copied', () => {
  const content = Buffer.from('a\r\nb.c\r\n')
  expect(stuffDots(content)).toBe(content)
})

test.each([
  ['ASCII throughout', 'a@example.org', 'Subject: x\r\n\r\nbody ä', false],
  ['a header that is not', 'a@example.org', 'Subject: ä\r\n\r\nbody', true],
  ['a sender that is not', 'jörg@example.org', 'Subject: x\r\n\r\nbody', true],
])('SMTPUTF8 is needed by what is not ASCII in envelope or header: %s', (_what, sender, content, wanted) => {
  expect(needsSmtpUtf8(sender, [recipient('b@example.com')], Buffer.from(content))).toBe(wanted)
})
