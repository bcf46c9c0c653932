import type { MTAInstanceSpec } from '#crds/mta-instance.ts'
import { readCertificate, type Certificate, type CertificateReading } from './submission/certificate.ts'
import { readUsers, type Users } from './submission/users.ts'
import { openWatchedDirectory } from './submission/watched-directory.ts'
import type { Judgement } from './health.ts'

/** The mounted Secrets: certificate and users, read again when they change. A broken new pair never replaces a good one. */

export type Credentials = Disposable & {
  certificate(): Certificate | undefined
  users(): Users
  /** For the condition CredentialsLoaded. */
  judge(now: number): Judgement
  /** Looks at the files now. */
  check(): Promise<void>
}

export type CredentialsOptions = {
  readonly directories: MTAInstanceSpec['directories']
  /** Something was read anew, good or bad. */
  readonly onChange: (what: 'certificate' | 'users') => void
  readonly everyMillis?: number
}

/** The kubelet brings a changed Secret within a minute or so; a few seconds more do not matter, and looking costs next to nothing. */
const LOOK_AGAIN_MILLIS = 5_000
const NO_USERS: Users = { known: new Map(), faults: [] }

export async function openCredentials(options: CredentialsOptions): Promise<Credentials> {
  const { directories, onChange, everyMillis = LOOK_AGAIN_MILLIS } = options
  using opening = new DisposableStack()
  let good: Certificate | undefined
  const take = (reading: CertificateReading) => {
    if (reading.kind === 'pair') good = reading.pair
  }
  const tls =
    directories.tls === undefined
      ? undefined
      : await openWatchedDirectory({
          directory: directories.tls,
          read: readCertificate,
          onChange: (reading) => {
            take(reading)
            onChange('certificate')
          },
          everyMillis,
        })
  if (tls) take(opening.use(tls).value)
  const auth =
    directories.auth === undefined
      ? undefined
      : await openWatchedDirectory({ directory: directories.auth, read: readUsers, onChange: () => onChange('users'), everyMillis })
  if (auth) opening.use(auth)
  const owned = opening.move()
  return {
    certificate: () => good,
    users: () => auth?.value ?? NO_USERS,
    judge: (now) => judgeCredentials({ reading: tls?.value, pair: good, users: auth?.value }, now),
    check: async () => void (await Promise.all([tls?.check(), auth?.check()])),
    [Symbol.dispose]: () => owned.dispose(),
  }
}

export type CredentialFacts = {
  /** What the TLS directory holds now; undefined when none is configured. */
  readonly reading: CertificateReading | undefined
  /** What is in use. */
  readonly pair: Certificate | undefined
  readonly users: Users | undefined
}

export function judgeCredentials(facts: CredentialFacts, now: number): Judgement {
  const { reading, pair, users } = facts
  const wrong = faultOfCertificate(facts, now) ?? faultOfUsers(users)
  if (wrong !== undefined) return wrong
  if (reading === undefined && users === undefined)
    return { status: 'True', reason: 'NotConfigured', message: 'neither TLS nor users are configured' }
  const certificate = pair === undefined ? 'no certificate' : `certificate valid until ${new Date(pair.expiresAt).toISOString()}`
  return { status: 'True', reason: 'Loaded', message: `${certificate}, ${formatUsers(users?.known.size ?? 0)}` }
}

function faultOfCertificate({ reading, pair }: CredentialFacts, now: number): Judgement | undefined {
  if (reading?.kind === 'fault') {
    const stays = pair === undefined ? 'there is no TLS until it is right' : 'the pair before stays in use'
    return { status: 'False', reason: 'CertificateWrong', message: `${reading.fault}; ${stays}` }
  }
  if (pair === undefined || pair.expiresAt > now) return undefined
  const message = `the certificate must not have expired, expired at ${new Date(pair.expiresAt).toISOString()} (${pair.subject})`
  return { status: 'False', reason: 'CertificateExpired', message }
}

const formatUsers = (count: number): string => (count === 1 ? '1 user' : `${count} users`)

function faultOfUsers(users: Users | undefined): Judgement | undefined {
  const faults = users?.faults ?? []
  if (faults.length === 0) return undefined
  const more = faults.length > 5 ? ` and ${faults.length - 5} more` : ''
  return { status: 'False', reason: 'UsersWrong', message: `${faults.slice(0, 5).join('; ')}${more}` }
}
