import { z } from 'zod'

/** The environment of the operator, read once and refused as a whole when anything in it is wrong. */

const seconds = (fallback: number) => z.coerce.number().int().min(1).max(3600).default(fallback)
const text = z.string('must be set').min(1)

const PortRange = z
  .string()
  .regex(/^\d{1,5}-\d{1,5}$/, 'must be two ports, as in 20000-24999')
  .transform((range) => {
    const [first = 0, last = 0] = range.split('-').map(Number)
    return { first, last }
  })
  .refine(({ first, last }) => first >= 1024 && last <= 65535 && last - first >= 2, 'must be at least three ports from 1024 to 65535')

const names = z
  .string()
  .default('')
  .transform((list) => list.split(',').flatMap((name) => name.trim() || []))

const Environment = z.object({
  OPERATOR_NAMESPACE: text,
  POD_NAME: text,
  AGENT_IMAGE: text,
  AGENT_IMAGE_PULL_SECRETS: names,
  WATCH_NAMESPACES: names,
  LOG_LEVEL: z.enum(['Debug', 'Info', 'Warn', 'Error']).default('Info'),
  PORT_RANGE: PortRange.prefault('20000-24999'),
  KUBECONFIG: text.optional(),
  HTTP_HOST: text.optional(),
  HTTP_PORT: z.coerce.number().int().min(0).max(65535).default(8080),
  LEASE_NAME: text.default('mtafleet-operator'),
  LEASE_DURATION_SECONDS: seconds(15),
  RENEW_DEADLINE_SECONDS: seconds(10),
  RETRY_PERIOD_SECONDS: seconds(2),
})

export type Config = {
  readonly namespace: string
  readonly podName: string
  readonly agentImage: string
  readonly agentImagePullSecrets: readonly string[]
  /** Empty: all. */
  readonly watchNamespaces: readonly string[]
  readonly logLevel: 'Debug' | 'Info' | 'Warn' | 'Error'
  readonly ports: { readonly first: number; readonly last: number }
  /** Absent: the cluster that the Pod runs in. */
  readonly kubeconfig: string | undefined
  /** Health and metrics. Without a host: every address of the Pod. Port 0: any free one, named in the log. */
  readonly http: { readonly host: string | undefined; readonly port: number }
  readonly lease: {
    readonly name: string
    readonly durationMillis: number
    readonly renewDeadlineMillis: number
    readonly retryMillis: number
  }
}

/** The environment is wrong: the message names every variable, what it must be and what it was. */
export class ConfigFault extends Error {
  override readonly name = 'ConfigFault'
}

/** Throws ConfigFault. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const parsed = Environment.safeParse(withoutEmpty(env))
  if (!parsed.success)
    throw new ConfigFault(`the environment must be right: ${parsed.error.issues.map((issue) => describe(issue, env)).join('; ')}`)
  const { data } = parsed
  const lease = {
    name: data.LEASE_NAME,
    durationMillis: data.LEASE_DURATION_SECONDS * 1000,
    renewDeadlineMillis: data.RENEW_DEADLINE_SECONDS * 1000,
    retryMillis: data.RETRY_PERIOD_SECONDS * 1000,
  }
  if (!(lease.retryMillis < lease.renewDeadlineMillis && lease.renewDeadlineMillis < lease.durationMillis)) {
    throw new ConfigFault(
      `the environment must be right: RETRY_PERIOD_SECONDS < RENEW_DEADLINE_SECONDS < LEASE_DURATION_SECONDS must hold, ` +
        `but they are ${data.RETRY_PERIOD_SECONDS}, ${data.RENEW_DEADLINE_SECONDS}, ${data.LEASE_DURATION_SECONDS}`,
    )
  }
  return {
    namespace: data.OPERATOR_NAMESPACE,
    podName: data.POD_NAME,
    agentImage: data.AGENT_IMAGE,
    agentImagePullSecrets: data.AGENT_IMAGE_PULL_SECRETS,
    watchNamespaces: data.WATCH_NAMESPACES,
    logLevel: data.LOG_LEVEL,
    ports: data.PORT_RANGE,
    kubeconfig: data.KUBECONFIG,
    http: { host: data.HTTP_HOST, port: data.HTTP_PORT },
    lease,
  }
}

/** A variable set to nothing is a variable not set: templates produce such. */
function withoutEmpty(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, value]])))
}

function describe(issue: z.core.$ZodIssue, env: Readonly<Record<string, string | undefined>>): string {
  const name = String(issue.path[0])
  return `${name} ${issue.message}, was ${env[name] === undefined ? 'not set' : `'${env[name]}'`}`
}
