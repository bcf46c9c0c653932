import type { Condition } from '#crds/meta.ts'
import type { DocumentSource } from './agent.ts'
import { ConfigFault } from './config.ts'
import { readDocumentFile } from './document.ts'
import type { AgentLog } from './log.ts'

/** The document from a file: read at the start and on every SIGHUP. Reports go to the log, and only when a condition changes. */
export function openFileSource(path: string, log: AgentLog): DocumentSource & AsyncDisposable {
  let told: readonly Condition[] = []
  return {
    readFirst: () => readDocumentFile(path),
    follow: (onChange, signal) =>
      new Promise((resolve, reject) => {
        const reread = () => {
          readDocumentFile(path)
            .then(onChange)
            .catch((error: unknown) => {
              if (error instanceof ConfigFault) log.error({ faults: error.lines }, 'document refused')
              else reject(error as Error)
            })
        }
        process.on('SIGHUP', reread)
        signal.addEventListener('abort', () => {
          process.off('SIGHUP', reread)
          resolve()
        })
      }),
    write: async (_instance, { conditions }) => {
      for (const { type, status, reason, message } of conditions) {
        const before = told.find((condition) => condition.type === type)
        if (before?.status !== status || before.reason !== reason)
          log.info({ condition: type, status, reason, detail: message }, 'condition changed')
      }
      told = conditions
    },
    // The file itself is what the next start reads.
    keep: async () => {},
    forget: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }
}
