import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Accepted, NotAccepted, Progress } from '#test/internet/load.ts'
import { waitFor } from '#test/support/wait.ts'
import { must } from './scenario.ts'

/**
 * One run of the mail client (test/internet/submit.ts) against a stream's Service, as a process of its own in the network of a node. What it
 * accepted is known message by message; a scenario can wait for a number of them and then make its fault.
 */

export type LoadOptions = {
  readonly count: number
  readonly connections: number
  readonly domains: readonly string[]
  readonly perSecond?: number
  readonly perConnection?: number
  /** Bytes, or BYTES:WEIGHT,… */
  readonly sizeBytes?: number | string
  /** For each reply. */
  readonly timeoutMillis?: number
  /** Before a message is tried again; doubles from 100 to 5000 when absent. */
  readonly backOffMillis?: number
  readonly sender?: string
  readonly tls?: 'starttls' | 'implicit'
  readonly user: string
  readonly password: string
  readonly host: string
  readonly serverName: string
  readonly caFile: string
  /** The client, without its arguments. */
  readonly command: readonly string[]
  /** Makes Message-IDs of different runs differ. */
  readonly run: string
}

export type LoadReport = {
  readonly accepted: readonly Accepted[]
  readonly unfinished: readonly NotAccepted[]
  readonly refused: readonly NotAccepted[]
  readonly progress: Progress
}

type Summary = { readonly summary: Progress; readonly refused: readonly NotAccepted[]; readonly unfinished: readonly NotAccepted[] }

export class Load {
  readonly #child: ChildProcess
  readonly #accepted: Accepted[] = []
  readonly #ended: Promise<void>
  #progress: Progress | undefined
  #summary: Summary | undefined
  #complaint = ''

  constructor(options: LoadOptions) {
    const [file, ...args] = [...options.command, ...submitArguments(options)]
    this.#child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const said = JSON.parse(line) as Accepted | Summary
      if ('summary' in said) this.#summary = said
      else this.#accepted.push(said)
    })
    createInterface({ input: this.#child.stderr! }).on('line', (line) => {
      if (line.startsWith('{')) this.#progress = JSON.parse(line) as Progress
      else this.#complaint = line
    })
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject)
      this.#child.once('close', () => resolve())
    })
  }

  /** What was accepted until now. */
  soFar(): readonly Accepted[] {
    return this.#accepted
  }

  acceptedCount(): number {
    return this.#accepted.length
  }

  progress(): Progress | undefined {
    return this.#progress
  }

  /** Waits until so many messages were accepted. */
  async accepted(count: number, withinMillis = 180_000): Promise<void> {
    await waitFor(
      `${count} accepted messages (there were ${this.#accepted.length})`,
      () => {
        must(this.#child.exitCode === null || this.#accepted.length >= count, `the client must still be running, ended: ${this.#complaint}`)
        return this.#accepted.length >= count
      },
      { withinMillis, everyMillis: 50 },
    )
  }

  /** Waits until so many attempts were put off. */
  async deferred(count: number, withinMillis = 120_000): Promise<void> {
    await waitFor(`${count} attempts to be put off`, () => (this.#progress?.deferred ?? 0) >= count, { withinMillis, everyMillis: 50 })
  }

  /** Waits for the end and returns the books. Throws when the client ended without any. */
  async finished(withinMillis = 600_000): Promise<LoadReport> {
    const timer = setTimeout(() => this.#child.kill('SIGTERM'), withinMillis)
    await this.#ended.finally(() => clearTimeout(timer))
    if (this.#summary === undefined) throw new Error(`the client ended without a summary: ${this.#complaint}`)
    const { summary, refused, unfinished } = this.#summary
    return { accepted: this.#accepted, refused, unfinished, progress: summary }
  }

  /** Tells the client to begin nothing more. */
  stop(): void {
    this.#child.kill('SIGTERM')
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#ended
  }
}

function submitArguments(options: LoadOptions): string[] {
  const pairs: readonly (readonly [string, string | number | undefined])[] = [
    ['host', options.host],
    ['port', options.tls === 'implicit' ? 465 : 587],
    ['tls', options.tls ?? 'starttls'],
    ['ca', options.caFile],
    ['servername', options.serverName],
    ['user', options.user],
    ['password', options.password],
    ['count', options.count],
    ['connections', options.connections],
    ['per-connection', options.perConnection],
    ['per-second', options.perSecond],
    ['domains', options.domains.join(',')],
    ['size', options.sizeBytes ?? 2000],
    ['timeout', options.timeoutMillis],
    ['back-off', options.backOffMillis],
    ['sender', options.sender],
    ['run', options.run],
  ]
  return pairs.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]))
}
