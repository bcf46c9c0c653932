import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parse, stringify } from 'yaml'
import type { MTAInstance } from '#crds/mta-instance.ts'

/** The agent as people run it: `node mta-agent/main.ts --config FILE`, with the example's document, changed where a test must. */

export type LogLine = { readonly msg: string; readonly [fact: string]: unknown }

export type AgentProcess = AsyncDisposable & {
  readonly directory: string
  readonly configFile: string
  readonly process: ChildProcess
  readonly lines: readonly LogLine[]
  /** The first line with this message after `from`; rejects when the process ends without it. */
  line(message: string, from?: number): Promise<LogLine>
  /** Exit status, when it has ended. */
  exited(): Promise<number | null>
  /** Writes another document; the process must be told. */
  write(change: (document: Changeable) => void): void
}

export type Changeable = Writable<MTAInstance>
type Writable<T> = { -readonly [K in keyof T]: T[K] extends object | undefined ? Writable<T[K]> : T[K] }

const EXAMPLE = new URL('../../examples/agent-alone.yaml', import.meta.url)
const MAIN = new URL('../../mta-agent/main.ts', import.meta.url)

export type AgentProcessOptions = {
  readonly change?: (document: Changeable) => void
  /** Of an agent before: its queue is kept there. */
  readonly directory?: string
  readonly env?: Readonly<Record<string, string>>
  /** A command that runs the one behind it in its own place, as `ip netns exec` does. */
  readonly through?: readonly string[]
}

/** The caller removes a directory that it gave. */
export function startAgent(options: AgentProcessOptions = {}): AgentProcess {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'mtafleet-agent-'))
  const configFile = join(directory, 'agent.yaml')
  const document = parse(readFileSync(EXAMPLE, 'utf8')) as Writable<MTAInstance>
  Object.assign(document.spec.ports, { submission: 0, submissions: 0, admin: 0 })
  document.spec.directories.queue = join(directory, 'queue')
  options.change?.(document)
  writeFileSync(configFile, stringify(document))
  const env = { ...process.env, TERMINATION_LOG: join(directory, 'termination.log'), ...options.env }
  const [command, ...args] = [...(options.through ?? []), process.execPath, MAIN.pathname, '--config', configFile]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env })
  const lines: LogLine[] = []
  let wake = Promise.withResolvers<void>()
  const turn = () => {
    wake.resolve()
    wake = Promise.withResolvers<void>()
  }
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text) as LogLine)
    turn()
  })
  const closed = once(child, 'close').then(() => turn())
  return {
    directory,
    configFile,
    process: child,
    lines,
    async line(message, from = 0) {
      for (;;) {
        const found = lines.slice(from).find(({ msg }) => msg === message)
        if (found) return found
        if (child.exitCode !== null || child.signalCode !== null) {
          await closed
          const late = lines.slice(from).find(({ msg }) => msg === message)
          if (late) return late
          throw new Error(`the agent ended without saying "${message}": ${JSON.stringify(lines, null, 1)}`)
        }
        await wake.promise
      }
    },
    async exited() {
      await closed
      return child.exitCode
    },
    write(change) {
      change(document)
      writeFileSync(configFile, stringify(document))
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await closed
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true })
    },
  }
}
