import type { MTAInstance } from '#crds/mta-instance.ts'
import { ConfigFault } from './config.ts'
import { DocumentKeeper } from './document-keeper.ts'
import { announce, setLevel, type AgentLog } from './log.ts'
import { openParts, type Parts, type PartsOptions } from './open-parts.ts'
import { readFacts } from './read-facts.ts'
import { runReporting, type Report, type ReportFacts } from './report.ts'
import type { ApiAccess } from './replication/coordinator/messages.ts'
import { runScrubbing } from './scrubbing.ts'
import { planSettings, type Host, type Settings } from './settings.ts'
import { pause, Wake } from './wake.ts'

/**
 * The running agent: opens its parts in the order in which mail passes them, follows its document, and closes in reverse. Mail that was
 * acknowledged is on disk by then, so there is no way to end this process that loses any.
 */

export type AgentPorts = {
  readonly source: DocumentSource
  readonly host: Host
  /** The queue volume's Kubernetes UID; undefined outside a cluster. */
  readonly queueVolumeUid?: string
  /** How an instance of a shard finds the API server; undefined outside a cluster. */
  readonly api?: ApiAccess
  readonly log: AgentLog
  readonly version: string
  readonly graceMillis: number
  /** First SIGTERM: stop accepting, let what runs end. */
  readonly stop: AbortSignal
  /** Second SIGTERM: end what runs. */
  readonly force: AbortSignal
  /** Called at once when a part cannot go on; runAgent then closes what it can, and rejects. */
  readonly onBroken: (error: unknown) => void
}

/** Where the document comes from: a file, or the API server. */
export type DocumentSource = {
  readFirst(signal: AbortSignal): Promise<MTAInstance>
  follow(onChange: (instance: MTAInstance) => void, signal: AbortSignal): Promise<void>
  /** Tells the world; rejects when it could not. */
  write(instance: MTAInstance, report: Report, signal: AbortSignal): Promise<void>
  keep(instance: MTAInstance, directory: string): Promise<void>
  /** Takes away what was kept there. */
  forget(directory: string): Promise<void>
}

/** Runs until `stop`; resolves when everything is closed. Throws ConfigFault, and what a part could not go on with. */
export async function runAgent(ports: AgentPorts): Promise<void> {
  const document = await untilStopped(ports.source.readFirst(ports.stop), ports.stop)
  if (document === undefined) return
  const running = new RunningAgent(ports, planSettings(document, ports.host), document)
  await running.run()
}

class RunningAgent {
  readonly #ports: AgentPorts
  readonly #conditions: NonNullable<MTAInstance['status']>['conditions']
  readonly #broken = Promise.withResolvers<never>()
  readonly #wake = new Wake()
  #settings: Settings
  #stopping = false
  /** Generation of the document that was taken last. */
  #taken: number | undefined
  readonly #keeper: DocumentKeeper
  #parts: Parts | undefined

  constructor(ports: AgentPorts, settings: Settings, document: MTAInstance) {
    this.#ports = ports
    this.#settings = settings
    const { queue } = settings.instance.spec.directories
    this.#keeper = new DocumentKeeper({
      keep: (instance) => ports.source.keep(instance, queue),
      forget: () => ports.source.forget(queue),
      onChange: () => this.#wake.poke(),
      onFailure: (error) => ports.log.warn({ error }, 'document not kept'),
    })
    this.#conditions = document.status?.conditions
    this.#taken = document.metadata.generation
    // Awaited below, and rejected at most once; without this a fault during start would count as unhandled.
    this.#broken.promise.catch(() => undefined)
  }

  async run(): Promise<void> {
    const { log, source, stop } = this.#ports
    setLevel(log, this.#settings.instance.spec.agent.logLevel)
    await using resources = new AsyncDisposableStack()
    const parts = await openParts(this.#partsOptions(), resources)
    this.#parts = parts
    const ended = new AbortController()
    // All begin here, and from here on somebody hears when one of them fails: nothing is awaited in between.
    const siblings = [
      source.follow((instance) => this.#take(instance), ended.signal),
      this.#scrub(parts, ended.signal),
      this.#keepThenReport(ended.signal),
    ]
    announce(log, { ports: parts.ports, mode: this.#settings.submission.mode, version: this.#ports.version }, 'ready')
    try {
      await Promise.race([aborted(stop), this.#broken.promise, ...siblings])
    } finally {
      this.#stopping = true
      log.info({ inFlight: parts.scheduler.inFlight() }, 'stopping')
      this.#wake.poke()
      try {
        await Promise.race([this.#drain(parts), this.#broken.promise])
      } finally {
        ended.abort()
      }
      await Promise.all([...siblings, this.#keeper.settled()])
    }
    log.info({}, 'stopped')
  }

  #partsOptions(): PartsOptions {
    return {
      ...this.#ports,
      settings: () => this.#settings,
      stopping: () => this.#stopping,
      onChange: () => this.#wake.poke(),
      onCredentials: (what) => this.#noteCredentials(what),
      onBroken: (error) => this.#breakWith(error),
    }
  }

  /** All of it within the grace: behind that comes SIGKILL. */
  async #drain({ store, submission, scheduler, shard }: Parts): Promise<void> {
    const { graceMillis, force } = this.#ports
    const since = performance.now()
    const grace = AbortSignal.any([AbortSignal.timeout(graceMillis), force])
    if (shard !== undefined) {
      // A scheduler that comes and goes with the role does not end the waiting of the store, which stays.
      grace.addEventListener('abort', () => store.stopWaiting(), { once: true })
      // A standby that is told is primary within a second, one that is not within ten.
      await shard.handOver(AbortSignal.any([AbortSignal.timeout(graceMillis / 2), force]))
    }
    const left = Math.max(0, graceMillis - (performance.now() - since))
    await Promise.all([submission.drain(grace), scheduler.stop(left)])
  }

  #breakWith(error: unknown): void {
    this.#ports.onBroken(error)
    this.#broken.reject(error)
  }

  /** A changed document. What is wrong with it is told, and the one before stays in force. */
  #take(instance: MTAInstance): void {
    const { log } = this.#ports
    // Its annotations ask for something and change no generation.
    this.#parts?.shard?.take(instance)
    const { generation } = instance.metadata
    // Our own reports change the object too; only another generation is another document. A file has none and is read when asked to.
    if (generation !== undefined && generation === this.#taken) return
    this.#taken = generation
    try {
      this.#settings = planSettings(instance, this.#ports.host, this.#settings)
    } catch (error) {
      if (!(error instanceof ConfigFault)) throw error
      log.error({ faults: error.lines }, 'document refused')
      return
    }
    const { spec, metadata } = this.#settings.instance
    setLevel(log, spec.agent.logLevel)
    log.info({ generation: metadata.generation, mode: spec.mode }, 'document taken')
    if (this.#settings.restartNeeded.length > 0) log.warn({ fields: this.#settings.restartNeeded }, 'another process is needed')
    this.#parts?.scheduler.reconfigure()
    this.#parts?.addresses?.reconsider()
    this.#reconfigureSubmission()
    void this.#keeper.keep(this.#settings.instance)
    this.#wake.poke()
  }

  #noteCredentials(what: 'certificate' | 'users'): void {
    const judged = this.#parts?.credentials.judge(Date.now())
    this.#ports.log[judged?.status === 'True' ? 'info' : 'error']({ what, ...judged }, 'credentials read')
    this.#reconfigureSubmission()
    this.#wake.poke()
  }

  #reconfigureSubmission(): void {
    // It can fail where the port of implicit TLS, opened late, is taken: then the agent ends as it would have at its start.
    this.#parts?.submission.reconfigure().catch((error: unknown) => this.#breakWith(error))
  }

  /** In this order: what a process before this one has kept may name addresses that this one does not have. */
  async #keepThenReport(signal: AbortSignal): Promise<void> {
    await this.#keeper.keep(this.#settings.instance)
    await runReporting(
      {
        facts: () => this.#facts(),
        write: (report, until) => this.#ports.source.write(this.#settings.instance, report, until),
        clock: Date.now,
        sleep: (millis, until) => this.#wake.sleep(millis, until),
        onFailure: (error) => this.#ports.log.warn({ error: error instanceof Error ? error.message : error }, 'report not written'),
        conditions: this.#conditions,
      },
      signal,
    )
  }

  #scrub({ store, damagedMail }: Parts, signal: AbortSignal): Promise<void> {
    return runScrubbing(
      {
        scrub: (until) =>
          store.scrub(until, {
            onDamage: (queueId, damage) => damagedMail.note(queueId, damage),
            rest: () => pause(SCRUB_REST_MILLIS, until),
          }),
        sleep: pause,
        random: Math.random,
        log: this.#ports.log,
      },
      signal,
    )
  }

  #facts(): ReportFacts {
    if (this.#parts === undefined) throw new Error('nothing is open yet')
    const { version } = this.#ports
    return readFacts({ settings: this.#settings, stopping: this.#stopping, version, keeper: this.#keeper }, this.#parts)
  }
}

/** After each mebibyte: at most ten a second are read, and 20 GB take half an hour. */
const SCRUB_REST_MILLIS = 100

/** undefined when the signal ended the wait; a fault that has nothing to do with it is thrown. */
async function untilStopped<T>(waited: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await waited
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
