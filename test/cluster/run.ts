/**
 * Commands and waits. A command that fails says which one it was and what it printed; a wait says what it waited for.
 * Must never: hide an exit status, or wait without an end.
 */
import { spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'

export type RunOptions = {
  /** Written to the command's standard input, which is otherwise empty. */
  readonly input?: string
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly signal?: AbortSignal | undefined
  /** Each line of standard error as it comes, for commands that take minutes. */
  readonly onLine?: (line: string) => void
}

/** Runs `argv` to its end and returns its standard output. Throws with the command and the last lines of its standard error when the status is not 0. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const [command = '', ...rest] = argv
  const child = spawn(command, rest, { cwd: options.cwd, env: options.env, signal: options.signal, stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    for (const line of text.split('\n')) if (line !== '') options.onLine?.(line)
  })
  // A command that never reads its input closes the pipe early; its exit status tells whether that was a fault.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  return await new Promise((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT' ? new Error(`${command} is missing on this machine (it was not found on PATH)`, { cause: error }) : error,
      ),
    )
    child.on('close', (status, signal) => {
      if (status === 0) return resolve(stdout)
      reject(new Error(`${argv.join(' ')} ended with ${signal ?? `status ${status}`}: ${lastLines(stderr || stdout, 12)}`))
    })
  })
}

export type WaitOptions = { readonly timeoutMillis: number; readonly everyMillis?: number; readonly signal?: AbortSignal | undefined }

/**
 * Asks `probe` until it answers something other than undefined. `what` is the fact in words, for the error.
 * `complaint`, when given, adds what is known about why the fact does not come.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  options: WaitOptions,
  complaint?: () => string | Promise<string>,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMillis
  for (;;) {
    const answer = await probe()
    if (answer !== undefined) return answer
    if (performance.now() > deadline) {
      const known = await complaint?.()
      throw new Error(`waited ${options.timeoutMillis / 1000} s for ${what}, in vain${known ? `: ${known}` : ''}`)
    }
    await delay(options.everyMillis ?? 100, undefined, { signal: options.signal })
  }
}

export function lastLines(text: string, count: number): string {
  return text.trim().split('\n').slice(-count).join('\n')
}
