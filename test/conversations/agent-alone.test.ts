import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openProvider, type Provider } from '#test/internet/provider.ts'
import { startAgent, type AgentProcess, type Changeable } from './agent-process.ts'
import { openTables } from '#agent/queue/lmdb-queue-store.ts'
import { formatPasswordHash } from '#agent/submission/password-hash.ts'
import { parseTranscript, play } from './play.ts'
import { hashForTests, writeCertificate } from './stage.ts'

/** The whole agent as a process, from examples/agent-alone.yaml: mail in, mail out, signals, and what it says when it cannot start. */

const MAIL = `# one message
S: 220 mta.example.com ESMTP
C: EHLO client.example
S: 250-…
S: 250 …
C: MAIL FROM:<a@example.com>
C: RCPT TO:<b@example.org>
C: DATA
S: 250 2.1.0 …
S: 250 2.1.5 …
S: 354 …
C: Message-ID: <one@client.example>
C: Subject: hello
C: 
C: text
C: .
S: 250 2.0.0 queued as …
C: QUIT
S: 221 …
CLOSED`

const portOf = async (agent: AgentProcess, name: 'submission' | 'admin'): Promise<number> =>
  ((await agent.line('ready'))['ports'] as Record<string, number>)[name]!

async function submit(agent: AgentProcess, transcript = MAIL): Promise<string[]> {
  const port = await portOf(agent, 'submission')
  return await play(parseTranscript(transcript), { port, security: 'clear', stored: () => [], act: () => Promise.resolve() })
}

test('accepts mail, delivers it to the next hop from its own address, and ends with 0 on SIGTERM', { timeout: 30_000 }, async () => {
  await using provider = await openProvider({ name: 'next-hop', keep: 'content' })
  await using agent = startAgent({ change: ({ spec }) => (spec.routes![0]!.nextHop.port = provider.port) })
  expect(await submit(agent)).toEqual([])
  const [arrival] = await provider.waitForArrivals(1, AbortSignal.timeout(10_000))
  expect(arrival).toMatchObject({
    sourceAddress: '127.0.0.1',
    hello: 'mta.example.com',
    sender: 'a@example.com',
    recipients: [{ address: 'b@example.org' }],
    messageId: '<one@client.example>',
  })
  expect(provider.contentOf(arrival!)?.toString()).toMatch(
    /^Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n\tby mta\.example\.com with ESMTP id .+\r\n\tfor <b@example\.org>;\r\n\t.+\r\nDate: .+\r\nMessage-ID: <one@client\.example>\r\nSubject: hello\r\n\r\ntext\r\n$/,
  )
  agent.process.kill('SIGTERM')
  expect(await agent.exited()).toBe(0)
  const said = agent.lines.map(({ msg }) => msg)
  expect(said.slice(0, -1)).toEqual(expect.arrayContaining(['delivered', 'stopping']))
  expect(said.at(-1)).toBe('stopped')
})

/** Runs `play` in the directory of an agent that took one message, could not deliver it, and was ended by `signal`. */
async function withQueuedMail(signal: NodeJS.Signals, play: (again: Again) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'mtafleet-agent-'))
  try {
    await using provider = await openProvider({ name: 'next-hop', behaviour: { listening: 'refused' } })
    const change = ({ spec }: Changeable) => {
      spec.routes![0]!.nextHop.port = provider.port
      spec.queue.retrySeconds = [1]
    }
    {
      await using agent = startAgent({ directory, change })
      expect(await submit(agent)).toEqual([])
      agent.process.kill(signal)
      await agent.exited()
    }
    await play({ provider, directory, start: () => startAgent({ directory, change }) })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
type Again = { readonly provider: Provider; readonly directory: string; readonly start: () => AgentProcess }

test('keeps acknowledged mail over kill -9 and delivers it after the next start', { timeout: 30_000 }, () =>
  withQueuedMail('SIGKILL', async ({ provider, start }) => {
    await provider.behave({})
    await using again = start()
    await again.line('ready')
    await provider.behave({ listening: 'open' })
    const [arrival] = await provider.waitForArrivals(1, AbortSignal.timeout(15_000)).catch((error: unknown) => {
      throw new Error(`nothing arrived; the agent said ${again.lines.map((line) => JSON.stringify(line)).join('\n')}`, { cause: error })
    })
    expect(arrival?.messageId).toBe('<one@client.example>')
  }),
)

test('a message that was damaged on the disk goes back to its sender, is told of, and the agent goes on', { timeout: 30_000 }, () =>
  withQueuedMail('SIGTERM', async ({ provider, directory, start }) => {
    {
      await using tables = openTables(join(directory, 'queue'))
      const [row] = tables.range('bodies', { limit: 1 })
      row!.value[0]! ^= 1
      await tables.commit([{ table: 'bodies', ...row! }])
    }
    await provider.behave({ listening: 'open' })
    await using again = start()
    expect(await again.line('message damaged')).toMatchObject({ level: 'error', queueId: '1-1', where: 'bodies 1-1' })
    const [arrival] = await provider.waitForArrivals(1, AbortSignal.timeout(15_000))
    expect(arrival).toMatchObject({ sender: '', recipients: [{ address: 'a@example.com' }] })
    const damaged = again.lines.findIndex(({ msg }) => msg === 'message damaged')
    expect(await again.line('condition changed', damaged)).toMatchObject({
      condition: 'StorageAvailable',
      status: 'True',
      reason: 'MailDamaged',
    })
    const metrics = await fetch(`http://127.0.0.1:${await portOf(again, 'admin')}/metrics`)
    expect(await metrics.text()).toContain('\nmtafleet_agent_queue_damaged_messages_total 1\n')
  }),
)

test('takes a changed document on SIGHUP, and keeps the old one when the new one is wrong', { timeout: 30_000 }, async () => {
  await using agent = startAgent()
  await agent.line('ready')
  agent.write(({ spec }) => (spec.mode = 'Drain'))
  agent.process.kill('SIGHUP')
  await agent.line('document taken')
  expect(await submit(agent, '# drained\nS: 220 …\nC: EHLO x.example\nS: 250-…\nS: 250 …\nC: MAIL FROM:<>\nS: 421 4.3.2 …')).toEqual([])
  const health = await fetch(`http://127.0.0.1:${await portOf(agent, 'admin')}/readyz`)
  expect([health.status, await health.json()]).toEqual([
    503,
    { status: 'unavailable', reason: 'Draining', message: 'mode is Drain: no mail is accepted' },
  ])
  const seen = agent.lines.length
  agent.write(({ spec }) => (spec.shard = -1))
  agent.process.kill('SIGHUP')
  expect(await agent.line('document refused', seen)).toMatchObject({
    faults: [expect.stringContaining('spec.shard: must be at least 0, was -1')],
  })
  agent.write(({ spec }) => {
    spec.shard = 0
    spec.ports.submission = 1
  })
  agent.process.kill('SIGHUP')
  expect(await agent.line('another process is needed', seen)).toMatchObject({ fields: ['spec.ports'] })
})

test('reads certificate and users from its directories, and new ones while it runs', { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mtafleet-agent-'))
  try {
    const [tls, auth] = [join(directory, 'tls'), join(directory, 'auth')]
    mkdirSync(tls)
    mkdirSync(auth)
    writeCertificate(tls, 'mta.example.com')
    writeFileSync(join(auth, 'user'), formatPasswordHash(await hashForTests('secret')))
    await using agent = startAgent({
      directory,
      change: ({ spec }) => {
        Object.assign(spec.directories, { tls, auth })
        spec.submission.allowedNetworks = ['192.0.2.0/24']
        Object.assign(spec.submission, { tlsSecretRef: { name: 'tls' }, authSecretRef: { name: 'users' } })
      },
    })
    const ports = (await agent.line('ready'))['ports'] as { submission: number; submissions: number }
    const dialogue = (password: string, reply: string) => {
      const token = Buffer.from(`\0user\0${password}`).toString('base64')
      return `S: 220 …\nC: EHLO x.example\nS: 250-…\nS: 250 AUTH PLAIN LOGIN\nC: AUTH PLAIN ${token}\nS: ${reply}`
    }
    const over = { security: 'tls', port: ports.submissions, stored: () => [], act: () => Promise.resolve() } as const
    expect(await play(parseTranscript(`# in\n${dialogue('secret', '235 2.7.0 …')}\nC: MAIL FROM:<>\nS: 250 2.1.0 …`), over)).toEqual([])
    const seen = agent.lines.length
    writeFileSync(join(auth, 'user'), `${formatPasswordHash(await hashForTests('other'))}\n`)
    expect(await agent.line('credentials read', seen)).toMatchObject({ what: 'users', status: 'True' })
    expect(await play(parseTranscript(`# out\n${dialogue('secret', '535 5.7.8 …')}`), over)).toEqual([])
    expect(await play(parseTranscript(`# in\n${dialogue('other', '235 2.7.0 …')}`), over)).toEqual([])
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('a wrong document is told line by line, and the exit status is 1', { timeout: 30_000 }, async () => {
  await using agent = startAgent({
    change: ({ spec }) => {
      spec.ports.admin = -1
      Object.assign(spec, { colour: 'red', mode: 'Sprint' })
    },
  })
  expect(await agent.exited()).toBe(1)
  const faults = ['spec.mode: must be one of Run, Hold, Drain, was "Sprint"', 'spec.ports.admin: must be at least 0, was -1']
  expect(agent.lines.map(({ fault }) => String(fault)).toSorted()).toEqual(faults)
  expect(readFileSync(join(agent.directory, 'termination.log'), 'utf8').trim().split('\n').toSorted()).toEqual(faults)
})

test('a taken port is named in the last words', { timeout: 30_000 }, async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  try {
    const { port } = other.address() as AddressInfo
    await using agent = startAgent({ change: ({ spec }) => (spec.ports.submission = port) })
    expect(await agent.exited()).toBe(1)
    expect(readFileSync(join(agent.directory, 'termination.log'), 'utf8')).toBe(
      `port must be free, is taken: 127.0.0.1:${port} (EADDRINUSE)\n`,
    )
  } finally {
    other.close()
  }
})

test('a volume of another shard is refused and left alone', { timeout: 30_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mtafleet-agent-'))
  try {
    {
      await using agent = startAgent({ directory })
      await agent.line('ready')
      agent.process.kill('SIGTERM')
      expect(await agent.exited()).toBe(0)
    }
    await using other = startAgent({ directory, change: ({ spec }) => (spec.shard = 1) })
    expect(await other.exited()).toBe(1)
    expect(readFileSync(join(directory, 'termination.log'), 'utf8')).toMatch(/^ForeignVolume: .+/)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('SIGTERM waits for a running transaction, and a second one does not', { timeout: 30_000 }, async () => {
  await using agent = startAgent()
  const port = await portOf(agent, 'submission')
  const signals = async (word: string) => {
    agent.process.kill('SIGTERM')
    // Two signals that are pending at the same time are one.
    if (word === 'first SIGTERM') await agent.line('stopping')
  }
  const transcript = `# open transaction
S: 220 …
C: EHLO client.example
S: 250-…
S: 250 …
C: MAIL FROM:<a@example.com>
S: 250 …
DO: first SIGTERM
C: RCPT TO:<b@example.org>
S: 250 2.1.5 …
DO: second SIGTERM
S: 421 4.3.2 …
CLOSED`
  expect(await play(parseTranscript(transcript), { port, security: 'clear', stored: () => [], act: signals })).toEqual([])
  expect(await agent.exited()).toBe(0)
})
