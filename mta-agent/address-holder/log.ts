/** JSON lines on standard output, in the agent's form, without the agent's packages: this process is to be small. */
export type HolderLog = Readonly<Record<'info' | 'warn' | 'error', (msg: string, facts: Readonly<Record<string, unknown>>) => void>>

export function openLog(write: (line: string) => void, now: () => Date): HolderLog {
  const at = (level: string) => (msg: string, facts: Readonly<Record<string, unknown>>) =>
    write(`${JSON.stringify({ level, time: now().toISOString(), ...readable(facts), msg })}\n`)
  return { info: at('info'), warn: at('warn'), error: at('error') }
}

/** An error has nothing that JSON sees. */
const readable = (facts: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(facts).map(([key, value]) => [key, value instanceof Error ? String(value) : value]))
