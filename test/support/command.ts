import { spawn } from 'node:child_process'

/**
 * Runs one command to its end. Never a shell: arguments arrive as they are. A command that fails says which one it was and what it printed;
 * none may hide its exit status, or run without an end.
 */

export type CommandOptions = {
  /** Written to the command's standard input, which is otherwise empty. */
  readonly input?: string
  readonly cwd?: string
  /** Beside those of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** After that it is killed; five minutes when absent. */
  readonly timeoutMillis?: number
  readonly signal?: AbortSignal | undefined
  /** Each line of standard error as it comes, for commands that take minutes. */
  readonly onLine?: (line: string) => void
}

const DEFAULT_TIMEOUT_MILLIS = 300_000

export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly stderr: string
  readonly stdout: string
  constructor(argv: readonly string[], why: string, output: { readonly stdout: string; readonly stderr: string }, cause?: unknown) {
    super(`${argv.slice(0, 12).join(' ')} ${why}: ${lastLines(output.stderr || output.stdout, 12)}`, { cause })
    this.stderr = output.stderr
    this.stdout = output.stdout
  }
}

/** Standard output of the command. Throws CommandFailed on any other end than exit status 0, and the signal's reason when that fires. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [command = '', ...rest] = argv
  const timeout = options.timeoutMillis ?? DEFAULT_TIMEOUT_MILLIS
  const begun = performance.now()
  const child = spawn(command, rest, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    signal: options.signal,
    timeout,
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
    for (const line of text.split('\n')) if (line !== '') options.onLine?.(line)
  })
  // A command that never reads its input closes the pipe early; its exit status tells whether that was a fault.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  return await new Promise((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? new CommandFailed(argv, `needs ${command}, which was not found on PATH`, output, error) : error),
    )
    child.on('close', (status, signal) => {
      if (status === 0) return resolve(output.stdout)
      const isLate = signal === 'SIGKILL' && performance.now() - begun >= timeout
      const end = isLate ? `did not end within ${timeout / 1000} s` : `ended with ${signal ?? `status ${status}`}`
      reject(new CommandFailed(argv, end, output))
    })
  })
}

export const lastLines = (text: string, count: number): string => text.trim().split('\n').slice(-count).join('\n')
