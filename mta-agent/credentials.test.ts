import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { aYearFrom, expiredBefore, selfSignCertificate } from '#test/internet/certificates.ts'
import { openCredentials } from './credentials.ts'

/** Mounted Secrets as the kubelet makes them: files are links through `..data`, which is swapped at once. */

let directory: string
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'mtafleet-secrets-'))))
afterEach(() => rmSync(directory, { recursive: true }))

let version = 0
function mount(name: string, files: Readonly<Record<string, string>>): string {
  const volume = join(directory, name)
  const data = `..v${++version}`
  mkdirSync(join(volume, data), { recursive: true })
  for (const [file, text] of Object.entries(files)) writeFileSync(join(volume, data, file), text)
  symlinkSync(data, join(volume, '..new'))
  renameSync(join(volume, '..new'), join(volume, '..data'))
  for (const file of Object.keys(files)) {
    rmSync(join(volume, file), { force: true })
    symlinkSync(join('..data', file), join(volume, file))
  }
  return volume
}
const pair = (validity = aYearFrom(new Date())) => {
  const { certificate, key } = selfSignCertificate({ names: ['mta.example'], ...validity })
  return { 'tls.crt': certificate, 'tls.key': key }
}
const HASH = '$scrypt$ln=10,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA'
const FOREVER = 1_000_000

test('a new pair is taken, a broken one keeps the old one and says so', async () => {
  const first = pair()
  const tls = mount('tls', first)
  const changes: string[] = []
  using credentials = await openCredentials({
    directories: { queue: '/q', tls },
    onChange: (what) => changes.push(what),
    everyMillis: FOREVER,
  })
  expect(credentials.certificate()?.cert.toString()).toBe(first['tls.crt'])
  const second = pair()
  mount('tls', second)
  await credentials.check()
  expect(credentials.certificate()?.cert.toString()).toBe(second['tls.crt'])
  mount('tls', { 'tls.crt': pair()['tls.crt'], 'tls.key': pair()['tls.key'] })
  await credentials.check()
  expect(credentials.certificate()?.cert.toString()).toBe(second['tls.crt'])
  expect(credentials.judge(Date.now())).toMatchObject({
    status: 'False',
    reason: 'CertificateWrong',
    message: expect.stringMatching(/^tls\.crt and tls\.key must be a matching pair in PEM: .+; the pair before stays in use$/),
  })
  expect(changes).toEqual(['certificate', 'certificate'])
})

test('files that did not change are not read again', async () => {
  const tls = mount('tls', pair())
  const changes: string[] = []
  using credentials = await openCredentials({
    directories: { queue: '/q', tls },
    onChange: (what) => changes.push(what),
    everyMillis: FOREVER,
  })
  await credentials.check()
  expect(changes).toEqual([])
})

test('an empty mount is a fault until the pair comes', async () => {
  const tls = join(directory, 'tls')
  mkdirSync(tls)
  using credentials = await openCredentials({ directories: { queue: '/q', tls }, onChange: () => {}, everyMillis: FOREVER })
  expect(credentials.judge(Date.now())).toMatchObject({ status: 'False', reason: 'CertificateWrong' })
  mount('tls', pair())
  await credentials.check()
  expect(credentials.judge(Date.now())).toMatchObject({ status: 'True', reason: 'Loaded' })
})

test('an expired certificate is used and told', async () => {
  const tls = mount('tls', pair(expiredBefore(new Date())))
  using credentials = await openCredentials({ directories: { queue: '/q', tls }, onChange: () => {}, everyMillis: FOREVER })
  expect(credentials.judge(Date.now())).toMatchObject({ status: 'False', reason: 'CertificateExpired' })
  expect(credentials.certificate()).toBeDefined()
})

test('users come and go with their files', async () => {
  const auth = mount('auth', { one: HASH })
  using credentials = await openCredentials({ directories: { queue: '/q', auth }, onChange: () => {}, everyMillis: FOREVER })
  const names = () => [...credentials.users().known.keys()]
  expect([names(), credentials.judge(Date.now()).message]).toEqual([['one'], 'no certificate, 1 user'])
  mount('auth', { one: HASH, two: HASH, three: 'clear text' })
  await credentials.check()
  expect([names(), credentials.judge(Date.now())]).toEqual([
    ['one', 'two'],
    {
      status: 'False',
      reason: 'UsersWrong',
      message: 'user three: must be $scrypt$ln=…,r=…,p=…$salt$hash, was 10 characters of another form',
    },
  ])
})

test('the files are looked at by themselves', async () => {
  const auth = mount('auth', { one: HASH })
  const changed = Promise.withResolvers<string>()
  using credentials = await openCredentials({ directories: { queue: '/q', auth }, onChange: changed.resolve, everyMillis: 10 })
  mount('auth', { two: HASH })
  expect(await changed.promise).toBe('users')
  await credentials.check()
})

test('nothing configured is nothing wrong', async () => {
  using credentials = await openCredentials({ directories: { queue: '/q' }, onChange: () => {} })
  expect([credentials.judge(0), credentials.certificate(), credentials.users().known.size]).toEqual([
    { status: 'True', reason: 'NotConfigured', message: 'neither TLS nor users are configured' },
    undefined,
    0,
  ])
})
