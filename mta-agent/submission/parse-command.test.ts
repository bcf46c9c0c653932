import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeXtext, parseMail, parseRcpt } from './parse-command.ts'

const mail = (text: string) => parseMail(Buffer.from(text))
const rcpt = (text: string) => parseRcpt(Buffer.from(text), false)

test('MAIL with all of its parameters', () => {
  expect(mail('mail from: <a@example.com> size=5 BODY=8bitmime SMTPUTF8 RET=full ENVID=a+2Bb AUTH=<>')).toEqual({
    kind: 'parsed',
    value: {
      sender: 'a@example.com',
      sizeBytes: 5,
      body: '8BITMIME',
      smtpUtf8: true,
      returnContent: 'FULL',
      envelopeId: 'a+b',
    },
  })
})

test('RCPT with all of its parameters', () => {
  expect(rcpt('RCPT TO:<b@Example.ORG> NOTIFY=delay,FAILURE,DELAY ORCPT=RFC822;x+40example.org')).toEqual({
    kind: 'parsed',
    value: { address: 'b@example.org', domain: 'example.org', notify: ['DELAY', 'FAILURE'], originalRecipient: 'rfc822;x@example.org' },
  })
})

test.each([
  ['MAIL FROM <a@example.com>', '501 5.5.4'],
  ['MAIL FROM:a@example.com', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> SIZE', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> SIZE=-1', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> SMTPUTF8=yes', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> ENVID=a+0D+0Ab', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> ENVID=a+b', '501 5.5.4'],
  [`MAIL FROM:<a@example.com> ENVID=${'a'.repeat(101)}`, '501 5.5.4'],
  ['MAIL FROM:<a@example.com> ENVID=a+E4', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> ENVID=ä', '501 5.5.4'],
  ['MAIL FROM:<a@example.com> REQUIRETLS', '555 5.5.4'],
  ['MAIL FROM:<a@example.com> =x', '501 5.5.4'],
])('%s is refused with %s', (text, want) => {
  const result = mail(text)
  expect(result.kind === 'refused' && `${result.reply.code} ${result.reply.enhanced}`).toBe(want)
})

test.each(['rfc822;j+C3+B6rg@example.org', 'rfc822;jörg@example.org'])('ORCPT=%s is refused: xtext is of ASCII', (value) => {
  expect(rcpt(`RCPT TO:<b@example.org> ORCPT=${value}`)).toMatchObject({ kind: 'refused', reply: { code: 501, enhanced: '5.5.4' } })
})

test('an original recipient of type utf-8 may be UTF-8 in an internationalised transaction', () => {
  const line = Buffer.from('RCPT TO:<b@example.org> ORCPT=utf-8;jörg@example.org')
  expect(parseRcpt(line, true)).toMatchObject({ value: { originalRecipient: 'utf-8;jörg@example.org' } })
  expect(parseRcpt(line, false)).toMatchObject({ kind: 'refused' })
})

test('a command that is not UTF-8 is refused', () => {
  expect(parseMail(Buffer.from([...Buffer.from('MAIL FROM:<a'), 0xff, ...Buffer.from('@example.com>')]))).toEqual({
    kind: 'refused',
    reply: { code: 501, enhanced: '5.5.2', text: 'command must be UTF-8' },
  })
})

test('xtext never brings a control character in', () => {
  expect([decodeXtext('a+2Bb+3D'), decodeXtext('+0A'), decodeXtext('+7F'), decodeXtext('+2b'), decodeXtext('+')]).toEqual([
    'a+b=',
    undefined,
    undefined,
    undefined,
    undefined,
  ])
})

test('no bytes make a parser throw, and what passes has no control characters', () => {
  const word = fc.constantFrom(
    'MAIL FROM:',
    'RCPT TO:',
    '<',
    '>',
    'a@example.com',
    ' SIZE=1',
    ' ENVID=',
    '+0A',
    '"',
    '\\',
    '\0',
    '\x85',
    'ä',
    ' ',
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 10 }), fc.uint8Array({ maxLength: 5 }), (words, bytes) => {
      const line = Buffer.concat([Buffer.from(words.join('')), bytes])
      for (const result of [parseMail(line), parseRcpt(line, true)]) {
        const clean = result.kind === 'parsed' ? !/\\u00[01]|[\u0080-\u009f]/.test(JSON.stringify(result.value)) : result.reply.code >= 500
        expect(clean).toBe(true)
      }
    }),
    { numRuns: 1000 },
  )
})
