import { createWriteStream, readFileSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { runLoad, type LoadOptions } from './load.ts'

/**
 * The load client as a program: `node test/internet/submit.ts --host … --port … --domains plain.example`. Every accepted message is one JSON line
 * on standard output or in --out; the last line is the summary. Runs in a node's network namespace too. Exit status 0 only if all were accepted.
 */
const USAGE = `node test/internet/submit.ts --host HOST --port PORT --domains a.example,b.example
  --tls starttls|implicit|none (starttls)  --ca FILE  --servername NAME  --user NAME  --password WORD
  --count N (until SIGTERM)  --connections N (4)  --per-connection N messages  --per-second N  --size BYTES or BYTES:WEIGHT,… (2000)
  --timeout MILLIS for each reply (60000)  --back-off FIRST:MOST milliseconds (100:5000)
  --recipients N per message (1)  --sender ADDRESS (load@senders.example)  --run NAME (run)
  --local-address IP  --hello NAME  --out FILE  --quiet`

const OPTIONS = {
  host: { type: 'string' },
  port: { type: 'string' },
  tls: { type: 'string', default: 'starttls' },
  ca: { type: 'string' },
  servername: { type: 'string' },
  user: { type: 'string' },
  password: { type: 'string' },
  count: { type: 'string' },
  connections: { type: 'string', default: '4' },
  'per-connection': { type: 'string' },
  'per-second': { type: 'string' },
  domains: { type: 'string' },
  recipients: { type: 'string', default: '1' },
  size: { type: 'string', default: '2000' },
  timeout: { type: 'string' },
  'back-off': { type: 'string' },
  sender: { type: 'string', default: 'load@senders.example' },
  run: { type: 'string', default: 'run' },
  'local-address': { type: 'string' },
  hello: { type: 'string' },
  out: { type: 'string' },
  quiet: { type: 'boolean', default: false },
} as const

type Values = ReturnType<typeof parse>
const parse = (args: readonly string[]) => parseArgs({ args: [...args], options: OPTIONS, strict: true }).values

/** Reads the command line; throws an Error with what must be and what was. */
export function parseSubmitOptions(args: readonly string[]): LoadOptions {
  const values = parse(args)
  const { tls } = values
  if (tls !== 'starttls' && tls !== 'implicit' && tls !== 'none') throw new Error(`--tls must be starttls, implicit or none, was ${tls}`)
  return {
    server: {
      host: needed(values, 'host'),
      port: whole('port', needed(values, 'port')),
      tls,
      ...(values.ca === undefined ? {} : { ca: readFileSync(values.ca, 'utf8') }),
      ...given({ servername: values.servername, user: values.user, password: values.password }),
      ...given({ localAddress: values['local-address'], helloName: values.hello }),
      ...(values.timeout === undefined ? {} : { timeoutMillis: whole('timeout', values.timeout) }),
    },
    mix: {
      run: values.run,
      sender: values.sender,
      domains: needed(values, 'domains').split(','),
      recipientsPerMessage: whole('recipients', values.recipients),
      sizes: values.size.split(',').map((part) => {
        const [bytes = '', weight = '1'] = part.split(':')
        return { bytes: whole('size', bytes), weight: whole('size', weight) }
      }),
    },
    connections: whole('connections', values.connections),
    ...(values.count === undefined ? {} : { count: whole('count', values.count) }),
    ...(values['per-connection'] === undefined ? {} : { messagesPerConnection: whole('per-connection', values['per-connection']) }),
    ...(values['back-off'] === undefined ? {} : { backOffMillis: parseBackOff(values['back-off']) }),
    ...(values['per-second'] === undefined ? {} : { perSecond: whole('per-second', values['per-second']) }),
  }
}

/** Only what was given: an absent option is absent, not undefined. */
function given<K extends string>(entries: Record<K, string | undefined>): Partial<Record<K, string>> {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as Partial<Record<K, string>>
}

function needed(values: Values, name: 'host' | 'port' | 'domains'): string {
  const value = values[name]
  if (value === undefined) throw new Error(`--${name} is needed\n${USAGE}`)
  return value
}

function parseBackOff(text: string): NonNullable<LoadOptions['backOffMillis']> {
  const [first = '', most = first] = text.split(':')
  return { first: whole('back-off', first), most: whole('back-off', most) }
}

function whole(name: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`--${name} must be a whole number from 1, was ${JSON.stringify(text)}`)
  return Number(text)
}

async function main(args: readonly string[]): Promise<void> {
  const options = parseSubmitOptions(args)
  const { out, quiet } = parse(args)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort(new Error(name)))
  const lines = out === undefined ? process.stdout : createWriteStream(out)
  let shown = 0
  const result = await runLoad(
    {
      ...options,
      onAccepted: (accepted) => void lines.write(`${JSON.stringify(accepted)}\n`),
      onProgress: (progress) => {
        if (quiet || performance.now() - shown < 200) return
        shown = performance.now()
        process.stderr.write(`${JSON.stringify(progress)}\n`)
      },
    },
    stop.signal,
  )
  const { progress, elapsedMillis, refused, unfinished } = result
  lines.write(`${JSON.stringify({ summary: { ...progress, elapsedMillis }, refused, unfinished })}\n`)
  if (lines !== process.stdout) await finished(lines.end())
  process.exitCode = refused.length + unfinished.length === 0 ? 0 : 1
}

if (import.meta.main) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    process.stderr.write(`submit: ${(error as Error).message}\n`)
    process.exitCode = 2
  })
}
