import { POD_ENVIRONMENT } from './contract/pod-environment.ts'

/** Where the agent finds the document that it works by. Read once, by main; nothing below sees the environment. */

export type Config = {
  readonly source:
    | { readonly kind: 'file'; readonly path: string }
    | {
        readonly kind: 'cluster'
        readonly namespace: string
        readonly name: string
        readonly uid: string | undefined
        readonly queueDirectory: string | undefined
      }
  readonly podAddress: string | undefined
  readonly queueVolumeUid: string | undefined
  readonly graceMillis: number
  readonly terminationLog: string
}

/** Wrong configuration: one line for each fault, saying what must be and what was. */
export class ConfigFault extends Error {
  override readonly name = 'ConfigFault'
  readonly lines: readonly string[]

  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

export const USAGE = `usage: node mta-agent/main.ts --config FILE, or in a Pod ${POD_ENVIRONMENT.namespace} and ${POD_ENVIRONMENT.name}`
const DEFAULT_GRACE_SECONDS = 25

/** Throws ConfigFault. */
export function readConfig(env: Readonly<Record<string, string | undefined>>, args: readonly string[]): Config {
  return {
    source: readSource(env, args),
    podAddress: env[POD_ENVIRONMENT.podAddress] || undefined,
    queueVolumeUid: env[POD_ENVIRONMENT.queueVolumeUid] || undefined,
    graceMillis: readGrace(env[POD_ENVIRONMENT.graceSeconds]) * 1000,
    terminationLog: env[POD_ENVIRONMENT.terminationLog] || '/dev/termination-log',
  }
}

function readSource(env: Readonly<Record<string, string | undefined>>, args: readonly string[]): Config['source'] {
  const [option, path, ...more] = args
  if (option !== undefined) {
    if (option !== '--config' || !path || more.length > 0) throw new ConfigFault([`${USAGE}, was ${JSON.stringify(args.join(' '))}`])
    return { kind: 'file', path }
  }
  const namespace = env[POD_ENVIRONMENT.namespace]
  const name = env[POD_ENVIRONMENT.name]
  if (!namespace || !name) throw new ConfigFault([`${USAGE}, was neither`])
  const uid = env[POD_ENVIRONMENT.uid] || undefined
  return { kind: 'cluster', namespace, name, uid, queueDirectory: env[POD_ENVIRONMENT.queueDirectory] || undefined }
}

function readGrace(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_GRACE_SECONDS
  if (/^[0-9]{1,4}$/.test(text)) return Number(text)
  throw new ConfigFault([`${POD_ENVIRONMENT.graceSeconds}: must be whole seconds, at most 9999, was ${JSON.stringify(text)}`])
}
