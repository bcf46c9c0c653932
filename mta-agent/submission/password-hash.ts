import { scrypt, timingSafeEqual } from 'node:crypto'

/**
 * Hashes of passwords as they stand in the AUTH Secret: `$scrypt$ln=14,r=8,p=5$SALT$HASH`, salt and hash in base64 without padding
 * (the PHC string format). scrypt runs on the thread pool; memory of one run is 128 × 2^ln × r bytes.
 */
export type PasswordHash = { readonly ln: number; readonly r: number; readonly p: number; readonly salt: Buffer; readonly hash: Buffer }

/** One of OWASP's equivalent choices, the one that needs least memory: 16 MiB. */
export const DEFAULT_COST = { ln: 14, r: 8, p: 5 } as const
const MAX_MEMORY = 134_217_728
const SHAPE =
  /^\$scrypt\$ln=(?<ln>[0-9]{1,2}),r=(?<r>[0-9]{1,2}),p=(?<p>[0-9]{1,2})\$(?<salt>[A-Za-z0-9+/]{11,86})\$(?<hash>[A-Za-z0-9+/]{22,86})$/

/** Throws RangeError. The message never has the text in it: it may be a password in the clear. */
export function parsePasswordHash(text: string): PasswordHash {
  const groups = SHAPE.exec(text)?.groups
  if (groups === undefined) throw new RangeError(`must be $scrypt$ln=…,r=…,p=…$salt$hash, was ${text.length} characters of another form`)
  const [ln, r, p] = [Number(groups['ln']), Number(groups['r']), Number(groups['p'])]
  if (ln < 10 || r < 1 || p < 1 || p > 16 || 128 * 2 ** ln * r > MAX_MEMORY) {
    throw new RangeError(`must have ln ≥ 10, 1 ≤ p ≤ 16 and need at most ${MAX_MEMORY / 1048576} MiB, was ln=${ln},r=${r},p=${p}`)
  }
  return { ln, r, p, salt: Buffer.from(groups['salt'] ?? '', 'base64'), hash: Buffer.from(groups['hash'] ?? '', 'base64') }
}

export const formatPasswordHash = (value: PasswordHash): string =>
  `$scrypt$ln=${value.ln},r=${value.r},p=${value.p}$${base64(value.salt)}$${base64(value.hash)}`

export async function hashPassword(
  password: string,
  salt: Buffer,
  cost: { ln: number; r: number; p: number } = DEFAULT_COST,
): Promise<PasswordHash> {
  return { ...cost, salt, hash: await derive(password, salt, cost, 32) }
}

/** Takes the same time whatever was wrong. */
export async function verifyPassword(password: string, against: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, against.salt, against, against.hash.length), against.hash)
}

function derive(password: string, salt: Buffer, cost: { ln: number; r: number; p: number }, length: number): Promise<Buffer> {
  const options = { N: 2 ** cost.ln, r: cost.r, p: cost.p, maxmem: MAX_MEMORY + 1048576 }
  return new Promise((resolve, reject) => {
    scrypt(password, salt, length, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}

const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
