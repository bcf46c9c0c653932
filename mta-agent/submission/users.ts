import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DEFAULT_COST, parsePasswordHash, verifyPassword, type PasswordHash } from './password-hash.ts'

/**
 * Who may submit with AUTH: one file for each user, named like the user. The name a client gives is only ever looked up in a Map, never in
 * the file system. A wrong password, an unknown user and a user whose file is broken cost the same time.
 */
export type Users = { readonly known: ReadonlyMap<string, PasswordHash>; readonly faults: readonly string[] }

export async function readUsers(directory: string, names: readonly string[]): Promise<Users> {
  const known = new Map<string, PasswordHash>()
  const faults: string[] = []
  for (const name of names) {
    try {
      known.set(name, parsePasswordHash((await readFile(join(directory, name), 'utf8')).trim()))
    } catch (error) {
      faults.push(`user ${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  if (names.length === 0) faults.push(`${directory} must have one file for each user, has none`)
  return { known, faults }
}

export type AuthResult = 'verified' | 'wrong' | 'throttled' | 'busy'

export type AuthenticatorOptions = {
  readonly users: () => Users
  readonly clock: () => number
  /** 32 random bytes, of this process alone: keys the cache, so that it holds nothing that helps anyone who reads our memory later. */
  readonly cacheKey: Buffer
}

const MAX_RUNNING = 2
const MAX_WAITING = 64
const MAX_CACHED = 1024
const MAX_CLIENTS = 10_000
/** Failed tries that one client has, and how long one takes to come back. */
const MAX_FAILURES = 10
const FAILURE_COOLS_AFTER = 60_000

export class Authenticator {
  readonly #options: AuthenticatorOptions
  /** user → HMAC of (password, hash it was verified against). A changed hash therefore misses. Oldest first. */
  readonly #verified = new Map<string, Buffer>()
  readonly #failures = new Map<string, { readonly count: number; readonly at: number }>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(options: AuthenticatorOptions) {
    this.#options = options
  }

  /** `client` is what failed tries are counted by. */
  async verify(user: string, password: string, client: string): Promise<AuthResult> {
    const { known } = this.#options.users()
    const stored = known.get(user)
    const token = stored && createHmac('sha256', this.#options.cacheKey).update(stored.hash).update('\0').update(password).digest()
    // A user who is in is not shut out by others who fail from the same address.
    if (token !== undefined && this.#isCached(user, token)) return 'verified'
    if (this.#failuresOf(client) >= MAX_FAILURES) return 'throttled'
    if (!(await this.#enter())) return 'busy'
    try {
      const verified = await verifyPassword(password, stored ?? decoy(known))
      if (stored === undefined || token === undefined || !verified) {
        this.#recordFailure(client)
        return 'wrong'
      }
      this.#remember(user, token)
      return 'verified'
    } finally {
      this.#leave()
    }
  }

  #isCached(user: string, token: Buffer): boolean {
    const cached = this.#verified.get(user)
    return cached !== undefined && timingSafeEqual(cached, token)
  }

  #remember(user: string, token: Buffer): void {
    this.#verified.delete(user)
    this.#verified.set(user, token)
    dropOldest(this.#verified, MAX_CACHED)
  }

  #failuresOf(client: string): number {
    const seen = this.#failures.get(client)
    if (seen === undefined) return 0
    // A clock that was set back must not add failures: the client would be shut out for as long as it was set back.
    const cooled = Math.floor(Math.max(0, this.#options.clock() - seen.at) / FAILURE_COOLS_AFTER)
    return Math.max(0, seen.count - cooled)
  }

  #recordFailure(client: string): void {
    const count = this.#failuresOf(client) + 1
    this.#failures.delete(client)
    this.#failures.set(client, { count, at: this.#options.clock() })
    dropOldest(this.#failures, MAX_CLIENTS)
  }

  /** At most two hashes at a time: each needs 16 MiB or more, and a thread that the disk needs too. */
  async #enter(): Promise<boolean> {
    if (this.#running < MAX_RUNNING) {
      this.#running++
      return true
    }
    if (this.#waiting.length >= MAX_WAITING) return false
    // Who leaves hands over the place, so the count stays.
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return true
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#running--
  }
}

/** What an unknown user is checked against: costs what the known ones cost, and matches nothing that anyone can know. */
function decoy(known: ReadonlyMap<string, PasswordHash>): PasswordHash {
  const [first] = known.values()
  return { ...(first ?? DEFAULT_COST), salt: Buffer.alloc(16), hash: Buffer.alloc(32) }
}

function dropOldest<K, V>(map: Map<K, V>, keep: number): void {
  for (const key of map.keys()) {
    if (map.size <= keep) return
    map.delete(key)
  }
}
