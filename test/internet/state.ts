import { isAbsolute, join } from 'node:path'

/** Where the small internet keeps its files, and the namespace it lives in. Everything it writes is below its folder. */
export function internetFolder(): string {
  const folder = process.env['MTAFLEET_INTERNET_DIR'] || '/var/lib/mtafleet-internet'
  if (!isAbsolute(folder) || folder === '/')
    throw new Error(`MTAFLEET_INTERNET_DIR must be an absolute path, was ${JSON.stringify(folder)}`)
  return folder
}

/** The namespace that test/cluster makes; another one for tests of the small internet itself. */
export const namespaceName = (): string => process.env['MTAFLEET_INTERNET_NAMESPACE'] || 'mtafleet-world'
export const BRIDGE = 'lan'

export const controlSocket = (): string => join(internetFolder(), 'control.sock')
export const arrivalsFile = (): string => join(internetFolder(), 'arrivals.jsonl')
/** PEM of the authority that signs the good certificates: a client that trusts it finds them good. */
export const authorityFile = (): string => join(internetFolder(), 'authority.pem')
export const logFolder = (): string => join(internetFolder(), 'log')
export const dnsFolder = (): string => join(internetFolder(), 'dns')
export const postfixFolder = (): string => join(internetFolder(), 'postfix')

/** In the environment of every process of ours, by which `down` finds them again. */
export const PROCESS_MARK = 'MTAFLEET_INTERNET_PROCESS'
