import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ContentReader, readContent, sha256, unstuff } from './content.ts'

const LIMIT = 1000

/** As a client sends it (RFC 5321 section 4.5.2). */
const stuff = (message: string): string => `${message.replaceAll(/(^|\r\n)\./g, '$1..')}.\r\n`

test('whatever the pieces it comes in, the message is what was sent, and what follows is left alone', () => {
  const line = fc
    .string({ unit: fc.constantFrom('.', '\r', '\n', 'a', ' '), maxLength: 8 })
    .filter((text) => !text.includes('\r\n') && !text.endsWith('\r'))
  const message = fc.array(line, { maxLength: 6 }).map((lines) => lines.map((text) => `${text}\r\n`).join(''))
  fc.assert(
    fc.property(message, fc.array(fc.nat(4), { minLength: 1 }), (sent, cuts) => {
      const wire = Buffer.from(`${stuff(sent)}QUIT\r\n`)
      const reader = new ContentReader(LIMIT)
      let rest: Buffer | undefined
      for (let at = 0, turn = 0; rest === undefined; turn += 1) {
        const length = cuts[turn % cuts.length]! + 1
        const piece = wire.subarray(at, at + length)
        at += length
        const after = reader.push(piece)
        if (after !== undefined) rest = Buffer.concat([after, wire.subarray(at)])
      }
      expect({ message: reader.finish().toString(), rest: rest.toString() }).toEqual({ message: sent, rest: 'QUIT\r\n' })
    }),
  )
})

test('line ends other than CRLF do not end a message', () => {
  const reader = new ContentReader(LIMIT)
  expect(reader.push(Buffer.from('a\n.\nb\n.\r\nc\r.\r'))).toBeUndefined()
  expect(reader.push(Buffer.from('\n.\r\n'))?.toString()).toBe('')
  expect(reader.finish().toString()).toBe('a\n.\nb\n.\r\nc\r.\r\n')
})

test('a message over the limit is too big, and is not kept', () => {
  const reader = new ContentReader(10)
  for (let piece = 0; piece < 100; piece += 1) reader.push(Buffer.from('0123456789'))
  expect(reader.push(Buffer.from('\r\n.\r\nNOOP\r\n'))?.toString()).toBe('NOOP\r\n')
  expect(reader.finish()).toBe('tooBig')
})

test('unstuffing takes one dot from every line that begins with one', () => {
  expect(unstuff(Buffer.from('..a\r\n...\r\nb.c\r\n..\r\n')).toString()).toBe('.a\r\n..\r\nb.c\r\n.\r\n')
})

test('the hash of the body does not see what is prepended to the header', () => {
  const message = 'Message-ID:\r\n <folded@x.example>\r\nSubject: x\r\n\r\nbody\r\n'
  const received = 'Received: from c (unknown [192.0.2.1])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n'
  const before = readContent(Buffer.from(message))
  expect(before).toEqual({
    messageId: '<folded@x.example>',
    size: message.length,
    contentHash: sha256(Buffer.from(message)),
    bodyHash: sha256(Buffer.from('body\r\n')),
    relayTls: null,
  })
  expect(readContent(Buffer.from(received + message))).toEqual({
    ...before,
    size: received.length + message.length,
    contentHash: sha256(Buffer.from(received + message)),
    relayTls: { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384' },
  })
})
