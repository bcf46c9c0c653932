import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { type ApiServer, openApiServer } from './api-server.ts'
import { binary, ensureBinaries } from './binaries.ts'
import { watchFor } from '#test/support/wait.ts'

let server: ApiServer

beforeAll(async () => {
  await ensureBinaries(['kubectl'])
  server = await openApiServer()
  return async () => await server[Symbol.asyncDispose]()
})

test('keeps its objects over a stop and a start', async () => {
  await kubectl('create', 'configmap', 'kept', '--from-literal=a=b')
  await server.stop()
  await expect(kubectl('get', 'configmap', 'kept', '--request-timeout=2s')).rejects.toThrow('refused')
  await server.start()
  expect(await kubectl('get', 'configmap', 'kept', '-o', 'jsonpath={.data.a}')).toBe('b')
})

test('answers nothing while frozen, and goes on after', async () => {
  server.freeze()
  await expect(kubectl('get', 'namespaces', '--request-timeout=1s')).rejects.toThrow(/timeout|deadline/i)
  server.thaw()
  expect(await kubectl('get', 'namespace', 'default', '-o', 'name')).toBe('namespace/default\n')
})

test('shows another certificate after a rotation, and is still trusted', async () => {
  await server.rotateServingCertificate()
  expect(await kubectl('get', 'namespace', 'default', '-o', 'name')).toBe('namespace/default\n')
})

test('makes service account tokens, and RBAC decides what they may do', async () => {
  await kubectl('create', 'serviceaccount', 'agent')
  const token = (await kubectl('create', 'token', 'agent')).trim()
  const asAgent = ['--server', server.url, '--certificate-authority', server.caFile, '--token', token, '--kubeconfig=/dev/null']
  await expect(exec(binary('kubectl'), ['get', 'secrets', ...asAgent])).rejects.toThrow(
    'User "system:serviceaccount:default:agent" cannot list resource "secrets"',
  )
})

test('writes down writes, lists and watches, but no single reads', async () => {
  await kubectl('create', 'configmap', 'audited')
  await kubectl('get', 'configmap', 'audited')
  await kubectl('get', 'configmaps')
  const events = readFileSync(server.auditLogFile, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditEvent)
  const mine = events.filter(({ objectRef, user }) => objectRef?.resource === 'configmaps' && user.username === 'admin')
  expect(mine.slice(-2).map(({ verb }) => verb)).toEqual(['create', 'list'])
})

test('leaves neither process nor file when the one who opened it is killed and another one opens', async () => {
  const opener = spawn(process.execPath, ['--input-type=module', '-e', OPENER], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [kubeconfig] = (await once(opener.stdout.setEncoding('utf8'), 'data')) as [string]
  expect(existsSync(kubeconfig)).toBe(true)
  opener.kill('SIGKILL')
  await once(opener, 'exit')
  await watchFor('the processes to end', () => (processesWith(dirname(kubeconfig)).length === 0 ? true : undefined), {
    withinMillis: 10_000,
  })
  await using other = await openApiServer()
  expect({ dead: existsSync(kubeconfig), alive: existsSync(other.kubeconfig) }).toEqual({ dead: false, alive: true })
})

const OPENER = `
  const { openApiServer } = await import(${JSON.stringify(join(import.meta.dirname, 'api-server.ts'))})
  process.stdout.write((await openApiServer()).kubeconfig)
  setInterval(() => {}, 1000)`

function processesWith(word: string): string[] {
  return globSync('/proc/[0-9]*/cmdline').filter((file) => {
    try {
      return readFileSync(file, 'utf8').includes(word)
    } catch {
      return false // It ended between the listing and the reading.
    }
  })
}

type AuditEvent = { verb: string; user: { username: string }; objectRef?: { resource: string; name?: string } }

const exec = promisify(execFile)

async function kubectl(...args: string[]): Promise<string> {
  return (await exec(binary('kubectl'), ['--kubeconfig', server.kubeconfig, ...args])).stdout
}
