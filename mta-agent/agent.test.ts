import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { API_VERSION } from '#crds/group.ts'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import { type DocumentSource, runAgent } from './agent.ts'
import { parseDocument } from './document.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'mtafleet-agent-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function instance(): MTAInstance {
  const { spec } = parse(readFileSync(new URL('../examples/agent-alone.yaml', import.meta.url), 'utf8')) as { spec: MTAInstanceSpec }
  const own = { ports: { submission: 0, submissions: 0, admin: 0 }, directories: { queue: join(directory, 'queue') } }
  const document = { apiVersion: API_VERSION, kind: 'MTAInstance', metadata: { name: 'news-0-a' }, spec: { ...spec, ...own } }
  return parseDocument(document, 'ignore')
}

function startAgent(source: Pick<DocumentSource, 'follow' | 'keep'>, stop = new AbortController().signal): Promise<void> {
  return runAgent({
    source: { readFirst: async () => instance(), write: async () => {}, forget: async () => {}, ...source },
    host: { hostName: 'node', podAddress: '127.0.0.1', place: 'alone' },
    log: pino({}, { write: () => {} }),
    version: '0.1.0',
    graceMillis: 1_000,
    stop,
    force: new AbortController().signal,
    onBroken: () => {},
  })
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))

test('ends with the fault of following its document though its disk has not kept the document yet', async () => {
  const fault = new Error('the watch broke')
  const ended = startAgent({ follow: () => Promise.reject(fault), keep: () => wait(100) })
  await expect(ended).rejects.toBe(fault)
})

test('hears that it shall stop while its disk keeps the document', async () => {
  const stop = new AbortController()
  const done: string[] = []
  const keep = async () => {
    stop.abort()
    await wait(100)
    done.push('kept')
  }
  const follow = async (_: unknown, signal: AbortSignal) => {
    await untilAborted(signal)
    done.push('no longer followed')
  }
  await startAgent({ follow, keep }, stop.signal)
  expect(done).toEqual(['no longer followed', 'kept'])
})
