import { execFile } from 'node:child_process'

/** Runs one command to its end. Never a shell: arguments arrive as they are. */

export type CommandOptions = {
  readonly input?: string
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutMillis?: number
  readonly signal?: AbortSignal
}

export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly stderr: string
  readonly stdout: string
  constructor(argv: readonly string[], why: string, output: { stdout: string; stderr: string }) {
    super(`${argv.slice(0, 12).join(' ')}: ${why}\n${output.stderr || output.stdout}`)
    this.stderr = output.stderr
    this.stdout = output.stdout
  }
}

/** Standard output of the command. Throws CommandFailed on any other end than exit status 0. */
export function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [file, ...args] = argv
  return new Promise((resolve, reject) => {
    const child = execFile(
      file!,
      args,
      {
        maxBuffer: 256 * 1024 * 1024,
        timeout: options.timeoutMillis ?? 120_000,
        killSignal: 'SIGKILL',
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        env: { ...process.env, ...options.env },
        ...(options.signal ? { signal: options.signal } : {}),
      },
      (error, stdout, stderr) => {
        if (error) reject(new CommandFailed(argv, error.message.split('\n')[0] ?? 'failed', { stdout, stderr }))
        else resolve(stdout)
      },
    )
    if (options.input !== undefined) child.stdin?.end(options.input)
    else child.stdin?.end()
  })
}
