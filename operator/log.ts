import pino, { type Logger } from 'pino'
import type { Config } from './config.ts'

/** One JSON object a line on standard output. Messages are constant words; facts are fields. Never a Secret's value, never a token. */

export type Log = Logger

const LEVELS = { Debug: 'debug', Info: 'info', Warn: 'warn', Error: 'error' } as const

export function openLog({ logLevel, podName }: Pick<Config, 'logLevel' | 'podName'>): Log {
  return pino({
    level: LEVELS[logLevel],
    base: { pod: podName },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
    serializers: { error: describeError },
  })
}

/** What an error says, and what caused it; the stack only where it is a defect of ours. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const kind = 'kind' in error && typeof error.kind === 'string' ? { kind: error.kind } : { stack: error.stack }
  return { name: error.name, message: error.message, ...kind }
}
