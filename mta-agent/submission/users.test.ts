import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { formatPasswordHash, hashPassword, parsePasswordHash, verifyPassword } from './password-hash.ts'
import { Authenticator, readUsers, type Users } from './users.ts'

const CHEAP = { ln: 10, r: 8, p: 1 }
const hash = (password: string) => hashPassword(password, randomBytes(16), CHEAP)

async function openAuthenticator(passwords: Record<string, string>) {
  const known = new Map(await Promise.all(Object.entries(passwords).map(async ([name, password]) => [name, await hash(password)] as const)))
  const state = { users: { known, faults: [] } as Users, now: 0 }
  const authenticator = new Authenticator({ users: () => state.users, clock: () => state.now, cacheKey: randomBytes(32) })
  return { state, authenticator }
}

test('a hash is verified by the password it was made of, after a round trip through text', async () => {
  const stored = parsePasswordHash(formatPasswordHash(await hash('geheim')))
  expect([await verifyPassword('geheim', stored), await verifyPassword('Geheim', stored), await verifyPassword('', stored)]).toEqual([
    true,
    false,
    false,
  ])
})

test.each([
  ['secret', 'must be $scrypt$ln=…,r=…,p=…$salt$hash, was 6 characters of another form'],
  [
    '$scrypt$ln=30,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA',
    'must have ln ≥ 10, 1 ≤ p ≤ 16 and need at most 128 MiB, was ln=30,r=8,p=1',
  ],
  [
    '$scrypt$ln=4,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA',
    'must have ln ≥ 10, 1 ≤ p ≤ 16 and need at most 128 MiB, was ln=4,r=8,p=1',
  ],
])('the hash %s is refused without being shown', (text, want) => {
  expect(() => parsePasswordHash(text)).toThrow(want)
})

test('users are files, and a wrong one does not harm the others', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mtafleet-users-'))
  try {
    writeFileSync(join(directory, 'good'), `${formatPasswordHash(await hash('x'))}\n`)
    writeFileSync(join(directory, 'plain'), 'a password in the clear')
    const users = await readUsers(directory, ['good', 'plain'])
    expect([[...users.known.keys()], users.faults]).toEqual([
      ['good'],
      ['user plain: must be $scrypt$ln=…,r=…,p=…$salt$hash, was 23 characters of another form'],
    ])
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('right, wrong, unknown, and a name that is a path', async () => {
  const { authenticator } = await openAuthenticator({ user: 'secret' })
  const results = ['user/secret', 'user/wrong', 'nobody/secret', '../user/secret', '__proto__/x'].map((text) => {
    const at = text.lastIndexOf('/')
    return authenticator.verify(text.slice(0, at), text.slice(at + 1), 'client')
  })
  expect(await Promise.all(results)).toEqual(['verified', 'wrong', 'wrong', 'wrong', 'wrong'])
})

test('a changed password ends what was remembered of the old one', async () => {
  const { authenticator, state } = await openAuthenticator({ user: 'old' })
  expect(await authenticator.verify('user', 'old', 'client')).toBe('verified')
  state.users = { known: new Map([['user', await hash('new')]]), faults: [] }
  expect(await authenticator.verify('user', 'old', 'client')).toBe('wrong')
  expect(await authenticator.verify('user', 'new', 'client')).toBe('verified')
})

test('after ten failures a client must wait, others and those who are in do not', async () => {
  const { authenticator, state } = await openAuthenticator({ user: 'secret', other: 'secret' })
  await authenticator.verify('user', 'secret', 'bad')
  for (let i = 0; i < 10; i++) expect(await authenticator.verify('user', `guess ${i}`, 'bad')).toBe('wrong')
  expect([
    await authenticator.verify('user', 'guess', 'bad'),
    await authenticator.verify('other', 'secret', 'bad'),
    await authenticator.verify('user', 'secret', 'bad'),
    await authenticator.verify('other', 'secret', 'good'),
  ]).toEqual(['throttled', 'throttled', 'verified', 'verified'])
  state.now += 60_000
  expect(await authenticator.verify('user', 'guess', 'bad')).toBe('wrong')
  expect(await authenticator.verify('user', 'guess', 'bad')).toBe('throttled')
})

test('a clock that is set back adds no failures', async () => {
  const { authenticator, state } = await openAuthenticator({ user: 'secret' })
  state.now = 3_600_000
  expect(await authenticator.verify('user', 'guess', 'client')).toBe('wrong')
  state.now = 0
  expect(await authenticator.verify('user', 'secret', 'client')).toBe('verified')
})

test('more tries at a time than can wait are told to come back', async () => {
  const { authenticator } = await openAuthenticator({ user: 'secret' })
  const results = await Promise.all(Array.from({ length: 100 }, (_, i) => authenticator.verify('user', 'secret', `client ${i}`)))
  expect([results.filter((one) => one === 'verified').length, results.filter((one) => one === 'busy').length]).toEqual([66, 34])
})
