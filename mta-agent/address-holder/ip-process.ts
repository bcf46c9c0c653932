import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Millis } from './lifetimes.ts'

/**
 * One `ip` that stays, reads commands and answers in JSON: a refresh is then a line written and a line read, a tenth of a millisecond, and never waits
 * for a new process on a node that is short of everything. What must never happen: a command that is carried out after it was given up.
 */

export type IpAnswer = {
  readonly shown: readonly unknown[]
  /** By the command's place in the call. */
  readonly failed: ReadonlyMap<number, string>
}

export class IpFailed extends Error {
  override readonly name = 'IpFailed'
}

/** Standard error into the same pipe, so that what was said before an answer is read before it. */
const COMMAND = ['sh', '-c', 'exec ip -force -json -batch - 2>&1'] as const
const FAILED_LINE = /^Command failed -:(?<line>[0-9]+)$/

type Call = {
  readonly firstLine: number
  readonly shows: number
  readonly shown: unknown[]
  readonly failed: Map<number, string>
  readonly said: string[]
  readonly settle: PromiseWithResolvers<IpAnswer>
}

export class IpProcess implements AsyncDisposable {
  readonly #timeout: Millis
  #child: ChildProcessWithoutNullStreams | undefined
  #call: Call | undefined
  #linesWritten = 0
  #rest = ''

  constructor(timeout: Millis) {
    this.#timeout = timeout
  }

  /**
   * Carries out `commands` in order, each whether the one before it succeeded or not, then the `shows`, which must print one list each. One
   * call at a time. A call without an answer in time ends the process, and rejects only when it is gone.
   */
  async run(commands: readonly string[], shows: readonly string[]): Promise<IpAnswer> {
    if (this.#call) throw new Error('one call at a time')
    const child = (this.#child ??= this.#start())
    const settle = Promise.withResolvers<IpAnswer>()
    const lines = [...commands, ...shows]
    this.#call = { firstLine: this.#linesWritten + 1, shows: shows.length, shown: [], failed: new Map(), said: [], settle }
    this.#linesWritten += lines.length
    child.stdin.write(`${lines.join('\n')}\n`)
    const late = setTimeout(() => child.kill('SIGKILL'), this.#timeout)
    try {
      const answer = await settle.promise
      // It remembers interfaces by number, and one that was made anew has another.
      if (answer.failed.size > 0) await this.#end()
      return answer
    } finally {
      clearTimeout(late)
      this.#call = undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end()
  }

  #start(): ChildProcessWithoutNullStreams {
    const [command, ...args] = COMMAND
    const child = spawn(command, args)
    this.#linesWritten = 0
    this.#rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    // A process that has ended reads no more; that it ended is told below.
    child.stdin.on('error', () => {})
    child.once('error', (error) => this.#gone(child, error.message))
    child.once('close', (status, signal) =>
      this.#gone(child, signal === 'SIGKILL' ? `gave no answer in ${this.#timeout} ms` : `ended with ${signal ?? `status ${status}`}`),
    )
    return child
  }

  #gone(child: ChildProcessWithoutNullStreams, how: string): void {
    if (this.#child !== child) return
    this.#child = undefined
    const said = this.#call?.said.join(' ') ?? ''
    this.#call?.settle.reject(new IpFailed(`ip ${how}${said === '' ? '' : `: ${said}`}`))
  }

  async #end(): Promise<void> {
    const child = this.#child
    if (!child) return
    this.#child = undefined
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') this.#readLine(line)
  }

  #readLine(line: string): void {
    const call = this.#call
    if (!call) return
    const failed = FAILED_LINE.exec(line)?.groups?.['line']
    if (failed !== undefined) {
      call.failed.set(Number(failed) - call.firstLine, call.said.splice(0).join(' '))
    } else if (line.startsWith('[')) {
      call.shown.push(JSON.parse(line))
      if (call.shown.length === call.shows) call.settle.resolve({ shown: call.shown, failed: call.failed })
    } else {
      call.said.push(line.trim())
    }
  }
}
