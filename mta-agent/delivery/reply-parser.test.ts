import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NotSmtp, ReplyParser } from './reply-parser.ts'

const parse = (...chunks: readonly string[]) => {
  const parser = new ReplyParser()
  return chunks.flatMap((chunk) => parser.feed(Buffer.from(chunk)))
}

test.each([
  ['one line', '250 2.1.5 Ok\r\n', { code: 250, enhanced: '2.1.5', text: 'Ok', lines: ['Ok'] }],
  ['a code alone', '354\r\n', { code: 354, text: '', lines: [''] }],
  [
    'several lines, their enhanced code said once',
    '550-5.1.1 No such\r\n550 5.1.1 user\r\n',
    { code: 550, enhanced: '5.1.1', text: 'No such user', lines: ['No such', 'user'] },
  ],
  [
    'an enhanced code of another class as text (RFC 2034 section 4)',
    '550 4.1.1 odd\r\n',
    { code: 550, text: '4.1.1 odd', lines: ['4.1.1 odd'] },
  ],
  ['bare LF, which servers do send', '250-a\n250 b\n', { code: 250, text: 'a b', lines: ['a', 'b'] }],
  ['control characters as spaces', '250 a\u0000\u001b[2Jb\r\n', { code: 250, text: 'a [2Jb', lines: ['a [2Jb'] }],
  ['UTF-8', '550 Nutzer unbekannt: jörg\r\n', { code: 550, text: 'Nutzer unbekannt: jörg', lines: ['Nutzer unbekannt: jörg'] }],
])('reads %s', (_what, text, wanted) => {
  expect(parse(text)).toEqual([wanted])
})

test.each([
  ['what is no reply', 'HTTP/1.1 400 Bad Request\r\n'],
  ['a code below 200', '100 continue\r\n'],
  ['lines of two codes', '250-a\r\n251 b\r\n'],
  ['a line without end', 'x'.repeat(5000)],
  ['lines without end', '250-more\r\n'.repeat(300)],
])('throws for %s', (_what, text) => {
  expect(() => parse(text)).toThrow(NotSmtp)
})

test('of a reply without measure a thousand characters are told, and four thousand kept', () => {
  const [reply] = parse('550-5.1.1 no\r\n', ...Array.from({ length: 198 }, () => `550-5.1.1 ${'x'.repeat(3000)}\r\n`), '550 5.1.1 end\r\n')
  expect(reply).toEqual({ code: 550, enhanced: '5.1.1', text: `no ${'x'.repeat(997)}`, lines: ['no', 'x'.repeat(3000)] })
  expect(parse(`550 ${'é'.repeat(999)}😀\r\n`)[0]?.text).toBe(`${'é'.repeat(999)}\ufffd`)
})

test('it does not matter where the bytes are cut', () => {
  const text = '220-mx.example.com\r\n220 ESMTP jörg\r\n250-mx\r\n250-SIZE 1000\r\n250 DSN\r\n550-5.7.1 no\r\n550 5.7.1 really\r\n'
  const bytes = Buffer.from(text)
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 10 }), (cuts) => {
      const parser = new ReplyParser()
      const ends = [...cuts.toSorted((a, b) => a - b), bytes.length]
      const replies = ends.flatMap((end, at) => parser.feed(bytes.subarray(ends[at - 1] ?? 0, end)))
      expect(replies).toEqual(parse(text))
      expect(parser.isBetweenReplies()).toBe(true)
    }),
  )
})
