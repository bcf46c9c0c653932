import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSubmission, type Log, type Submission, type SubmissionMetrics, type SubmissionSettings } from '#agent/submission/listener.ts'
import { parseNetworks } from '#agent/submission/networks.ts'
import { hashPassword } from '#agent/submission/password-hash.ts'
import { readCertificate, type Certificate } from '#agent/submission/certificate.ts'
import type { Users } from '#agent/submission/users.ts'
import { formatQueueId } from '#agent/domain/queue-id.ts'
import type { SmtpReply } from '#agent/domain/smtp-reply.ts'
import { aYearFrom, selfSignCertificate } from '#test/internet/certificates.ts'
import { NotCommitted, QueueFull, type NewMessage, type QueueStore } from '#agent/queue/queue-store.ts'

/** The real listener on loopback, with a queue in memory whose room and failures a test decides. */

export type ScriptedQueue = Pick<QueueStore, 'append' | 'room'> & {
  readonly stored: NewMessage[]
  /** What append and room say. */
  state: 'works' | 'full' | 'full on append' | 'broken' | NotCommitted['because']
  /** Set: append waits for it, after it has said that it was called. */
  gate: { readonly called: () => void; readonly opens: Promise<void> } | undefined
}

export function openScriptedQueue(): ScriptedQueue {
  const queue: ScriptedQueue = {
    stored: [],
    state: 'works',
    gate: undefined,
    async append(message) {
      queue.gate?.called()
      await queue.gate?.opens
      if (queue.state === 'full' || queue.state === 'full on append') throw new QueueFull('no room')
      if (queue.state === 'broken') throw new Error('disk failed')
      if (queue.state === 'NoStandbyInSync' || queue.state === 'NotPrimary') throw new NotCommitted(queue.state)
      queue.stored.push(message)
      return formatQueueId({ epoch: 1, sequence: queue.stored.length })
    },
    room: () => (queue.state === 'full' ? 'full' : 'room'),
  }
  return queue
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
export const noMetrics: SubmissionMetrics = {
  sessions: { set: () => {} },
  messages: { inc: () => {} },
  bytes: { inc: () => {} },
  refusals: { inc: () => {} },
  authentications: { inc: () => {} },
  acceptSeconds: { observe: () => {} },
}

/** Cheap, so that tests are quick. */
export const hashForTests = (password: string) => hashPassword(password, randomBytes(16), { ln: 10, r: 8, p: 1 })

/** A certificate as the files that a mounted Secret would have. */
export function writeCertificate(directory: string, hostName: string, validity = aYearFrom(new Date())): void {
  const { certificate, key } = selfSignCertificate({ names: [hostName], ...validity })
  writeFileSync(join(directory, 'tls.crt'), certificate)
  writeFileSync(join(directory, 'tls.key'), key)
}

export async function makeCertificate(hostName: string): Promise<Certificate> {
  const directory = mkdtempSync(join(tmpdir(), 'mtafleet-test-'))
  try {
    writeCertificate(directory, hostName)
    const reading = await readCertificate(directory)
    if (reading.kind === 'fault') throw new Error(reading.fault)
    return reading.pair
  } finally {
    rmSync(directory, { recursive: true })
  }
}

export type StageOptions = {
  readonly settings?: Partial<SubmissionSettings>
  readonly users?: Readonly<Record<string, string>>
  readonly certificate?: Certificate
  readonly log?: Log
}

export type Staged = AsyncDisposable & {
  readonly submission: Submission
  readonly queue: ScriptedQueue
  settings: SubmissionSettings
  gate: 'open' | SmtpReply
  certificate: Certificate | undefined
  users: Users
}

export const NOON = Date.parse('2026-11-24T12:00:00Z')

export async function openStage(options: StageOptions = {}): Promise<Staged> {
  const queue = openScriptedQueue()
  const known = await Promise.all(
    Object.entries(options.users ?? {}).map(async ([name, password]) => [name, await hashForTests(password)] as const),
  )
  const staged = {
    queue,
    gate: 'open' as 'open' | SmtpReply,
    users: { known: new Map(known), faults: [] } satisfies Users,
    certificate: options.certificate,
    settings: {
      hostName: 'mta.example',
      listenAddress: '127.0.0.1',
      port: 0,
      implicitTlsPort: 0,
      mode: 'Run',
      maxMessageBytes: 65_536,
      maxRecipients: 100,
      maxConnections: 10,
      allowedNetworks: parseNetworks(['127.0.0.0/8']),
      ...options.settings,
    } satisfies SubmissionSettings as SubmissionSettings,
  }
  const submission = await openSubmission({
    settings: () => staged.settings,
    store: queue,
    gate: () => staged.gate,
    users: () => staged.users,
    certificate: () => staged.certificate,
    log: options.log ?? silentLog,
    metrics: noMetrics,
    clock: () => NOON,
    random: randomBytes,
  })
  return Object.assign(staged, { submission, [Symbol.asyncDispose]: () => submission[Symbol.asyncDispose]() })
}
