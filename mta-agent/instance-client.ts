import { setTimeout as wait } from 'node:timers/promises'
import { FIELD_OWNERS, GROUP, RESOURCES, VERSION } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { openClient, type Client } from '#kube/client.ts'
import { systemClock } from '#kube/clock.ts'
import type { ApiServer } from '#kube/config.ts'
import { isKubeError } from '#kube/errors.ts'
import { runReflector } from '#kube/reflector.ts'
import { resource } from '#kube/resources.ts'
import type { Config } from './config.ts'
import { ConfigFault } from './config.ts'
import { forgetDocument, keepDocument, parseDocument, readKeptDocument } from './document.ts'
import type { AgentLog } from './log.ts'
import type { Report } from './report.ts'

/**
 * The agent's own MTAInstance at the API server: read once to start, followed by a watch of this one object, reported to. While the server is
 * away the agent goes on with what it has, and can even start with it, if the queue volume has a copy of this very instance's document.
 */

const MTA_INSTANCES = resource<MTAInstance>({
  group: GROUP,
  version: VERSION,
  kind: 'MTAInstance',
  plural: RESOURCES.MTAInstance,
  namespaced: true,
})

type ClusterSource = Extract<Config['source'], { kind: 'cluster' }>

export type InstanceClient = AsyncDisposable & {
  /** From the API server, or kept. Waits for the server while neither can be had. Throws ConfigFault when it will not get better by waiting. */
  readFirst(signal: AbortSignal): Promise<MTAInstance>
  /** Until the signal aborts. What cannot be parsed is told and skipped: the agent goes on with what it had. */
  follow(onChange: (instance: MTAInstance) => void, signal: AbortSignal): Promise<void>
  write(instance: MTAInstance, report: Report, signal: AbortSignal): Promise<void>
  /** For the next start without the API server. */
  keep(instance: MTAInstance, directory: string): Promise<void>
  forget(directory: string): Promise<void>
}

const RETRY_MILLIS = 2_000

export function openInstanceClient(server: ApiServer, source: ClusterSource, log: AgentLog): InstanceClient {
  const client = openClient(server)
  const key = { namespace: source.namespace, name: source.name }
  const fieldSelector = `metadata.name=${source.name}`
  return {
    readFirst: (signal) => readFirst(client, source, log, signal),
    follow: (onChange, signal) => {
      const put = (object: MTAInstance) => {
        try {
          onChange(parseDocument(object, 'ignore'))
        } catch (error) {
          if (!(error instanceof ConfigFault)) throw error
          log.error({ faults: error.lines }, 'document refused')
        }
      }
      const sink = {
        replace: (objects: readonly MTAInstance[]) => objects.forEach(put),
        put,
        remove: () => log.warn(key, 'own MTAInstance is gone'),
      }
      const selection = { namespace: source.namespace, fieldSelector }
      return runReflector({ client, of: MTA_INSTANCES, selection, sink, clock: systemClock }, signal)
    },
    write: async (instance, { agent, conditions }, signal) => {
      // The uid keeps us from writing to a namesake that was made after ours was deleted.
      const { uid } = instance.metadata
      const metadata = { ...key, ...(uid === undefined ? {} : { uid }) }
      await client.applyStatus(MTA_INSTANCES, { metadata, status: { agent, conditions } }, { owner: FIELD_OWNERS.agent }, { signal })
    },
    keep: (instance, directory) => keepDocument(directory, instance),
    forget: (directory) => forgetDocument(directory),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}

async function readFirst(client: Client, source: ClusterSource, log: AgentLog, signal: AbortSignal): Promise<MTAInstance> {
  const { namespace, name } = source
  for (;;) {
    try {
      return ofUid(parseDocument(await client.get(MTA_INSTANCES, { namespace, name }, { signal }), 'ignore'), source)
    } catch (error) {
      // Roles arrive a moment after Pods; a server that cannot be asked may come back. All else is told at once.
      if (!isKubeError(error)) throw error
      if (error.kind === 'notFound' || error.kind === 'invalid')
        throw new ConfigFault([`MTAInstance ${namespace}/${name}: ${error.message}`])
      const kept = await readKept(source, log)
      if (kept !== undefined) return kept
      log.warn({ error: error.message, failure: error.failure }, 'waiting for the API server')
      await wait(RETRY_MILLIS, undefined, { signal })
    }
  }
}

function ofUid(instance: MTAInstance, { uid }: ClusterSource): MTAInstance {
  if (uid === undefined || instance.metadata.uid === uid) return instance
  throw new ConfigFault([
    `MTAInstance ${instance.metadata.name}: must be the one with uid ${uid}, was another with uid ${instance.metadata.uid}`,
  ])
}

async function readKept({ uid, queueDirectory }: ClusterSource, log: AgentLog): Promise<MTAInstance | undefined> {
  if (uid === undefined || queueDirectory === undefined) return undefined
  const kept = await readKeptDocument(queueDirectory, uid)
  if (kept.kind === 'usable') {
    log.warn({ generation: kept.instance.metadata.generation }, 'starting with the kept document')
    return kept.instance
  }
  log.info({ because: kept.because, reason: kept.message }, 'no kept document')
  return undefined
}
