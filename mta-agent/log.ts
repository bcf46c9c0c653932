import { destination, pino, stdSerializers, type Logger } from 'pino'
import type { MTAInstanceSpec } from '#crds/mta-instance.ts'

/** JSON lines on standard output: a constant message in `msg`, facts as fields. Passwords and message text never get here. */
export type AgentLog = Logger

export type LogLevel = MTAInstanceSpec['agent']['logLevel']

/**
 * Each line is written before the call returns. By default pino writes in another thread, and at the end of the process what is still there
 * comes after the last words. It costs no more: 5 µs a line both ways.
 */
export function openLog(level: LogLevel): AgentLog {
  return pino(
    {
      level: level.toLowerCase(),
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: stdSerializers.err },
    },
    destination({ dest: 1, sync: true }),
  )
}

export function setLevel(log: AgentLog, level: LogLevel): void {
  log.level = level.toLowerCase()
}

/** Written whatever the level is: `ready` is what others wait for. */
export function announce(log: AgentLog, facts: object, message: string): void {
  log.child({}, { level: 'info' }).info(facts, message)
}
