import { expect, test } from 'vitest'
import { parseSubmitOptions } from './submit.ts'

test('the command line becomes the options of the load client, and nothing that was not given', () => {
  const line = '--host 127.0.0.1 --port 587 --domains a.example,b.example --count 10 --size 2000:3,20000 --user u --password p'
  expect(parseSubmitOptions(line.split(' '))).toEqual({
    server: { host: '127.0.0.1', port: 587, tls: 'starttls', user: 'u', password: 'p' },
    mix: {
      run: 'run',
      sender: 'load@senders.example',
      domains: ['a.example', 'b.example'],
      recipientsPerMessage: 1,
      sizes: [
        { bytes: 2000, weight: 3 },
        { bytes: 20_000, weight: 1 },
      ],
    },
    connections: 4,
    count: 10,
  })
})

test('how long the client waits, and how soon it comes again, can be said', () => {
  const line = '--host h --port 587 --domains a.example --timeout 1000 --back-off 50:200'
  const options = parseSubmitOptions(line.split(' '))
  expect(options.server.timeoutMillis).toBe(1000)
  expect(options.backOffMillis).toEqual({ first: 50, most: 200 })
})

test.each([
  ['--port 25 --domains a.example', '--host is needed'],
  ['--host h --port x --domains a.example', '--port must be a whole number from 1, was "x"'],
  ['--host h --port 25 --domains a.example --tls maybe', '--tls must be starttls, implicit or none, was maybe'],
  ['--host h --port 25 --domains a.example --colour red', "Unknown option '--colour'"],
])('%s is refused', (line, message) => {
  expect(() => parseSubmitOptions(line.split(' '))).toThrow(message)
})
