import { expect, test } from 'vitest'
import { parseGreeting, parseReply, parseRequest } from './protocol.ts'

test('requests are taken as they are', () => {
  const requests = [
    {
      id: 1,
      ask: 'attach',
      addresses: [{ address: '192.0.2.7', prefixLength: 24, interface: 'eth0.5' }, { address: '2001:db8::7' }],
      deadline: 5.5,
    },
    { id: 2, ask: 'extend', deadline: 6 },
    { id: 3, ask: 'remove', addresses: ['192.0.2.7'] },
  ]
  expect(requests.map((one) => parseRequest(JSON.stringify(one)))).toEqual(requests)
})

const attach = (address: object) => JSON.stringify({ id: 1, ask: 'attach', addresses: [address], deadline: 5 })

test.each([
  ['{', 'a message must be JSON, was "{"'],
  ['5', 'a message must be an object, was 5'],
  ['{"ask":"extend","deadline":5}', 'id must be a whole number, was undefined'],
  ['{"id":1,"ask":"flush"}', 'ask must be attach, extend or remove, was "flush"'],
  ['{"id":1,"ask":"extend","deadline":"5"}', 'a time must be milliseconds of the monotonic clock, was "5"'],
  ['{"id":1,"ask":"remove","addresses":"192.0.2.7"}', 'addresses must be a list of at most 1024, was "192.0.2.7"'],
  [attach({ address: '192.0.2.7/32' }), 'an address must be in its canonical spelling, was "192.0.2.7/32"'],
  [attach({ address: '192.0.2.7', prefixLength: 33 }), 'prefixLength of 192.0.2.7 must be 1 to 32, was 33'],
  [attach({ address: '192.0.2.7', prefixLength: 0 }), 'prefixLength of 192.0.2.7 must be 1 to 32, was 0'],
  [
    attach({ address: '192.0.2.7', interface: 'eth0\nlink del eth0' }),
    'interface of 192.0.2.7 must be the name of one, was "eth0\\nlink del eth0"',
  ],
  [attach({ address: '192.0.2.7', interface: 'a b' }), 'interface of 192.0.2.7 must be the name of one, was "a b"'],
])('%s is refused: every word goes into a command of root', (line, message) => {
  expect(() => parseRequest(line)).toThrow(expect.objectContaining({ name: 'ProtocolFault', message }))
})

test('greetings and replies', () => {
  expect([parseGreeting('{"version":1,"clock":7.5}'), parseReply('{"id":1,"held":[],"refused":[]}'), parseReply('{"error":"x"}')]).toEqual([
    { version: 1, clock: 7.5 },
    { id: 1, held: [], refused: [] },
    { error: 'x' },
  ])
  expect(() => parseGreeting('{"version":2,"clock":7.5}')).toThrow('version must be 1, was 2')
  expect(() => parseReply('{"id":1}')).toThrow('a reply must have id, held and refused, or error')
})
