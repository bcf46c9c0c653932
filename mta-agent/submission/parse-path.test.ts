import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseDomain, parseMailbox, splitPath } from './parse-path.ts'

const read = (path: string, utf8: 'utf8' | 'ascii' = 'ascii') => {
  const result = parseMailbox(path, utf8)
  return result.kind === 'mailbox' ? result.mailbox.address : result.fault.because
}

test.each([
  ['a@example.com', 'a@example.com'],
  ['A.b+c@EXAMPLE.com', 'A.b+c@example.com'],
  ['"a b"@example.com', '"a b"@example.com'],
  [String.raw`"a\"@b"@example.com`, String.raw`"a\"@b"@example.com`],
  ['@r.example,@s.example:a@example.com', 'a@example.com'],
  ['a@xn--bcher-kva.example', 'a@xn--bcher-kva.example'],
  ['a', 'NoDomain'],
  ['@example.com', 'Syntax'],
  ['a@', 'BadDomain'],
  ['a@b@example.com', 'BadDomain'],
  ['.a@example.com', 'Syntax'],
  ['a..b@example.com', 'Syntax'],
  ['a b@example.com', 'Syntax'],
  ['"a"b@example.com', 'NoDomain'],
  ['"a@example.com', 'NoDomain'],
  ['a@-b.example', 'BadDomain'],
  ['a@b_c.example', 'BadDomain'],
  ['a@example.com.', 'BadDomain'],
  ['a@1', 'BadDomain'],
  ['a@127.0.0.1', 'BadDomain'],
  ['a@[127.0.0.1]', 'AddressLiteral'],
  ['ä@example.com', 'NeedsSmtpUtf8'],
  ['a@bücher.example', 'NeedsSmtpUtf8'],
  [`${'a'.repeat(64)}@example.com`, `${'a'.repeat(64)}@example.com`],
  [`${'a'.repeat(65)}@example.com`, 'TooLong'],
  [`a@${'b.'.repeat(130)}example`, 'TooLong'],
])('%s is %s', (path, want) => {
  expect(read(path)).toBe(want)
})

test('with SMTPUTF8 the local part stays as it is and the domain becomes A-labels', () => {
  expect([read('ä@bücher.example', 'utf8'), read('a\u200bb@example.com', 'utf8'), read('a@xn--\u200b.example', 'utf8')]).toEqual([
    'ä@xn--bcher-kva.example',
    'Syntax',
    'Syntax',
  ])
})

test('a path ends at the first > outside quotes', () => {
  expect([splitPath('<a@b> SIZE=1'), splitPath('<"a>b"@c>x'), splitPath('<a'), splitPath('a@b'), splitPath('<>')]).toEqual([
    { path: 'a@b', rest: ' SIZE=1' },
    { path: '"a>b"@c', rest: 'x' },
    undefined,
    undefined,
    { path: '', rest: '' },
  ])
})

test('what was read once is read as the same again', () => {
  const part = fc.constantFrom('a', 'B', '.', '"', '\\', '@', ' ', 'ü', '[', ']', ':', ',', '-', '1', 'example', '.org', '\u0000', '\r')
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const result = parseMailbox(parts.join(''), 'utf8')
      if (result.kind === 'fault') return
      expect(parseMailbox(result.mailbox.address, 'utf8')).toEqual(result)
      expect(result.mailbox.address).not.toMatch(/[\r\n\0<>]/)
    }),
    { numRuns: 2000 },
  )
})

test('domains are compared in one spelling', () => {
  expect([parseDomain('EXAMPLE.org'), parseDomain('BÜCHER.example'), parseDomain('localhost'), parseDomain('a..b')]).toEqual([
    'example.org',
    'xn--bcher-kva.example',
    undefined,
    undefined,
  ])
})
