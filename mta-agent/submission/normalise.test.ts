import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDate, MAX_HEADER_BYTES, MessageIntake, type Trace } from './normalise.ts'

const TRACE: Trace = {
  hostName: 'mta.example',
  clientName: 'client.example',
  clientAddress: '192.0.2.7',
  protocol: 'ESMTPSA',
  transaction: 'abc.1',
  onlyRecipient: 'b@example.org',
  now: Date.parse('2026-11-24T12:00:00Z'),
  randomId: 'f00d',
}
const RECEIVED =
  'Received: from client.example ([192.0.2.7])\r\n\tby mta.example with ESMTPSA id abc.1\r\n\tfor <b@example.org>;\r\n\tTue, 24 Nov 2026 12:00:00 +0000\r\n'
const DATE = 'Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n'
const ID = 'Message-ID: <f00d@mta.example>\r\n'

function take(text: string, chunkLength = Infinity, trace: Trace = TRACE): string {
  const intake = new MessageIntake({ maxMessageBytes: 1_000_000 })
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; at += chunkLength) intake.push(bytes.subarray(at, Math.min(bytes.length, at + chunkLength)))
  const result = intake.finish(trace)
  if (!('content' in result)) return `${result.code} ${result.enhanced} ${result.text}`
  return result.content.toString('latin1')
}

describe('what is added', () => {
  test.each([
    ['everything that is missing', 'Subject: x\r\n\r\ny\r\n', `${RECEIVED}${DATE}${ID}Subject: x\r\n\r\ny\r\n`],
    ['nothing that is there', 'date: x\r\nMESSAGE-ID : <y>\r\n\r\n', `${RECEIVED}date: x\r\nMESSAGE-ID : <y>\r\n\r\n`],
    ['what only the body has', 'Subject: x\r\n\r\nDate: x\r\n', `${RECEIVED}${DATE}${ID}Subject: x\r\n\r\nDate: x\r\n`],
    ['what only a folded line has', 'Subject: x\r\n Date: x\r\n\r\n', `${RECEIVED}${DATE}${ID}Subject: x\r\n Date: x\r\n\r\n`],
    ['an empty line before text without header', 'hello there\r\n', `${RECEIVED}${DATE}${ID}\r\nhello there\r\n`],
    ['no empty line where there is one', '\r\nbody\r\n', `${RECEIVED}${DATE}${ID}\r\nbody\r\n`],
    ['header to nothing', '', `${RECEIVED}${DATE}${ID}\r\n`],
  ])('adds %s', (_, given, want) => {
    expect(take(given)).toBe(want)
  })

  test('names no recipient when there are several, and an IPv6 client by its tag', () => {
    const { onlyRecipient: _, ...several } = TRACE
    expect(take('Date: x\r\nMessage-ID: y\r\n\r\n', Infinity, { ...several, clientAddress: '2001:db8::7' })).toBe(
      'Received: from client.example ([IPv6:2001:db8::7])\r\n\tby mta.example with ESMTPSA id abc.1;\r\n\tTue, 24 Nov 2026 12:00:00 +0000\r\nDate: x\r\nMessage-ID: y\r\n\r\n',
    )
  })

  test.each(['a (b)', '[192.0.2.1]', 'ä', '<x>'])('never writes %s, said in EHLO, into the header', (clientName) => {
    expect(take('Date: x\r\nMessage-ID: y\r\n\r\n', Infinity, { ...TRACE, clientName })).toContain('from [192.0.2.7] ([192.0.2.7])\r\n')
  })
})

describe('what is refused', () => {
  const hops = (count: number) => `${'Received: x\r\n'.repeat(count)}Date: x\r\nMessage-ID: y\r\n\r\n`
  test.each([
    ['bare LF', 'a: b\r\n\r\nc\nd\r\n', '550 5.6.11 bare LF in the message; lines must end with CRLF (RFC 5321 section 2.3.8)'],
    ['LF first', '\n', '550 5.6.11 bare LF in the message; lines must end with CRLF (RFC 5321 section 2.3.8)'],
    ['CR CR LF', 'a: b\r\r\n', '550 5.6.11 bare CR in the message; lines must end with CRLF (RFC 5321 section 2.3.8)'],
    ['CR at the end', 'a: b\r', '550 5.6.11 the last line must end with CRLF; lines must end with CRLF (RFC 5321 section 2.3.8)'],
    ['NUL', 'a: b\r\n\r\n\0\r\n', '550 5.6.11 NUL in the message; lines must end with CRLF (RFC 5321 section 2.3.8)'],
    ['a line of 999 octets', `a: b\r\n\r\n${'x'.repeat(999)}\r\n`, '550 5.6.0 lines must have at most 998 octets before CRLF'],
    ['fifty hops', hops(50), '554 5.4.6 too many hops: must be fewer than 50, was 50'],
    ['an endless header', `${`X: ${'y'.repeat(900)}\r\n`.repeat(300)}`, `552 5.3.4 header must have at most ${MAX_HEADER_BYTES} bytes`],
    [
      'a message over the limit',
      'a: b\r\n\r\n' + `${'x'.repeat(98)}\r\n`.repeat(10_000),
      '552 5.3.4 message must have at most 1000000 bytes',
    ],
  ])('refuses %s, whole or in pieces', (_, given, want) => {
    expect([take(given), take(given, 7)]).toEqual([want, want])
  })

  test('takes 998 octets and 49 hops', () => {
    expect(take(`a: b\r\n\r\n${'x'.repeat(998)}\r\n`)).toContain('x'.repeat(998))
    expect(take(hops(49))).toContain('Received: x')
  })

  test('keeps nothing after a refusal', () => {
    const intake = new MessageIntake({ maxMessageBytes: 1000 })
    intake.push(Buffer.from('a: b\r\n\r\n'))
    intake.push(Buffer.from('\n'))
    intake.push(Buffer.from('more\r\n'))
    expect(intake.bytes).toBe(0)
  })
})

test('eight bits are told of header and body apart', () => {
  const bits = (text: string) => {
    const intake = new MessageIntake({ maxMessageBytes: 1000 })
    intake.push(Buffer.from(text))
    const { eightBit, eightBitHeader } = intake.finish(TRACE) as { eightBit: boolean; eightBitHeader: boolean }
    return [eightBit, eightBitHeader]
  }
  expect([bits('a: b\r\n\r\nc\r\n'), bits('a: b\r\n\r\nä\r\n'), bits('a: ä\r\n\r\nc\r\n'), bits('a: ä\r\n')]).toEqual([
    [false, false],
    [true, false],
    [true, true],
    [true, true],
  ])
})

test('the verdict and the content do not depend on how the message was cut', () => {
  const piece = fc.constantFrom('\r', '\n', '\r\n', '.', 'a', ': ', 'Received: x', 'Date: y', '\0', ' ', 'ä', 'x'.repeat(500))
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (pieces, chunkLength) => {
      const text = pieces.join('')
      expect(take(text, chunkLength)).toBe(take(text))
    }),
  )
})

test('what is taken has only CRLF as line ends, and ends with one', () => {
  const piece = fc.constantFrom('\r', '\n', '\r\n', '\r\n\r\n', 'a', 'b: c', '\0')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = pieces.join('')
      const result = take(text)
      const clean = !/\r(?!\n)|(?<!\r)\n|\0/.test(text) && /^$|\r\n$/.test(text)
      expect(result.startsWith('Received: ')).toBe(clean)
      expect(result.endsWith(text)).toBe(clean)
    }),
  )
})

test('dates are those of RFC 5322', () => {
  expect(formatDate(Date.parse('2026-03-01T04:05:06Z'))).toBe('Sun, 01 Mar 2026 04:05:06 +0000')
})
