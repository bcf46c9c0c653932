import { existsSync, writeFileSync } from 'node:fs'
import { ConfigFault } from './config.ts'

/** Last words: why the agent could not start or go on, one clear line for each fault, for people and for the Pod's status. */

type SystemError = Error & { readonly code?: string; readonly address?: string; readonly port?: number; readonly path?: string }

/** Each row: the code of the operating system, and what it means here. */
const CAUSES: Readonly<Record<string, (error: SystemError) => string>> = {
  EADDRINUSE: ({ address, port }) => `port must be free, is taken: ${address ?? ''}:${port ?? ''} (EADDRINUSE)`,
  EADDRNOTAVAIL: ({ address, port }) => `address must be on this node, is not: ${address ?? ''}:${port ?? ''} (EADDRNOTAVAIL)`,
  EROFS: ({ path }) => `queue volume must be writable, is read-only: ${path ?? ''} (EROFS)`,
  ENOSPC: ({ path }) => `queue volume must have room, is full: ${path ?? ''} (ENOSPC)`,
}

export function describeFault(error: unknown): readonly string[] {
  if (error instanceof ConfigFault) return error.lines
  if (!(error instanceof Error)) return [String(error)]
  const { code, port, path } = error as SystemError
  if (code === 'EACCES' && port !== undefined) return [`port must be one that this user may listen on, was ${port} (EACCES)`]
  if (code === 'EACCES' || code === 'EPERM')
    return [`must be readable and writable by this user, is not: ${path ?? error.message} (${code})`]
  const known = code === undefined ? undefined : CAUSES[code]
  return [known?.(error as SystemError) ?? `${error.name}: ${error.message}`]
}

/** The kubelet shows at most 4096 bytes of it in the Pod's status. A place that cannot be written to must not hide the fault itself. */
export function writeTerminationLog(path: string, lines: readonly string[]): void {
  if (path === '/dev/termination-log' && !existsSync(path)) return
  try {
    writeFileSync(path, Buffer.from(`${lines.join('\n')}\n`).subarray(0, 4096))
  } catch (error) {
    console.error(`termination log ${path} must be writable: ${error instanceof Error ? error.message : String(error)}`)
  }
}
