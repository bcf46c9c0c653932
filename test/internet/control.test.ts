import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { arrivals, beginnings, behave, clearArrivals, findInternet, internetStatus, setDns, waitForArrivals } from './client.ts'
import { openControl } from './control.ts'
import { runLoad } from './load.ts'
import { openProvider, type Provider } from './provider.ts'
import { controlSocket } from './state.ts'

let stack: AsyncDisposableStack
let provider: Provider
let nameServer: ChildProcess
const never = new AbortController().signal

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'mtafleet-internet-'))
  stack.defer(() => rmSync(folder, { recursive: true }))
  process.env['MTAFLEET_INTERNET_DIR'] = folder
  stack.defer(() => void delete process.env['MTAFLEET_INTERNET_DIR'])
  provider = stack.use(await openProvider({ name: 'plain' }))
  nameServer = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  stack.defer(() => void nameServer.kill('SIGKILL'))
  stack.use(await openControl(controlSocket(), [provider], nameServer))
})
afterEach(async () => await stack.disposeAsync())

const send = async (run: string, count: number) =>
  await runLoad(
    {
      server: { host: provider.address, port: provider.port, tls: 'none' },
      mix: { run, sender: 's@senders.example', domains: ['plain.example'], recipientsPerMessage: 1, sizes: [{ bytes: 500, weight: 1 }] },
      connections: 1,
      count,
      backOffMillis: { first: 5, most: 20 },
    },
    never,
  )

test('a scenario sees what arrived, by run, and can forget it', async () => {
  await send('one', 2)
  await send('two', 3)
  const two = await waitForArrivals(3, { messageIdPrefix: '<two.' }, AbortSignal.timeout(5000))
  expect(two.map(({ messageId }) => messageId)).toEqual(['<two.0@load.example>', '<two.1@load.example>', '<two.2@load.example>'])
  expect(await arrivals({ provider: 'plain' })).toHaveLength(5)
  expect(await beginnings()).toHaveLength(5)
  await clearArrivals()
  expect(await arrivals()).toEqual([])
  expect(await beginnings()).toEqual([])
})

test('waiting in vain ends with how many there were', async () => {
  await send('one', 1)
  await expect(waitForArrivals(2, { provider: 'plain' }, AbortSignal.timeout(50))).rejects.toThrow(
    '1 of 2 messages arrived ({"outcome":"arrived","provider":"plain"})',
  )
})

test('a behaviour is changed while it runs, and {} goes back', async () => {
  await behave('plain', { rules: [{ at: 'mail', action: { do: 'reply', reply: '550 5.7.1 No' } }] })
  expect((await send('one', 1)).refused.map(({ reply }) => reply)).toEqual(['550 5.7.1 No'])
  expect((await behave('plain', {})).rules).toEqual([])
  expect((await send('two', 1)).accepted).toHaveLength(1)
})

test('a wrong request says what there is', async () => {
  await expect(behave('plane', {})).rejects.toThrow('no provider is called plane; there are plain')
  await expect(behave('plain', { greylist: {} } as never)).rejects.toThrow(/greylist\.delaySeconds/)
})

test('the name server can be silenced', async () => {
  await setDns('silent')
  expect((await internetStatus()).dns).toBe('silent')
  await setDns('answering')
  expect((await internetStatus()).dns).toBe('answering')
})

test('an internet that is not up is not found, and a question to it says how to bring it up', async () => {
  process.env['MTAFLEET_INTERNET_DIR'] = '/nonexistent/internet'
  expect(await findInternet()).toBeUndefined()
  await expect(arrivals()).rejects.toThrow('is it up? (npm run internet -- up)')
})
