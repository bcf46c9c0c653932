import { setTimeout as sleep } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import type { SourceEdit } from '#scripts/image.ts'
import { formatPasswordHash, hashPassword } from '#agent/submission/password-hash.ts'
import type { Condition } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { type Manifest, movingAddresses, namespace, pool, secret, stream, type StreamOptions } from '#test/builders/manifests.ts'
import { type Certificate } from '#test/support/certificates.ts'
import { CommandFailed, runCommand } from '#test/support/command.ts'
import { waitFor } from '#test/support/wait.ts'
import type { Fleet } from './fleet.ts'
import type { World } from './world.ts'
import { Load, type LoadOptions, type LoadReport } from './load.ts'
import { podProcesses } from './processes.ts'
import { must, mustEqual } from './scenario.ts'
import type { Expectation, Submitted } from '#test/internet/compare.ts'

/**
 * Where one scenario plays: a namespace of its own, the fleet around it, and the words that scenarios are written in. It disposes of
 * itself: streams first (drained by force of deletion), then the namespace, then the volumes they held.
 */

/** On every namespace that a stage made. */
export const STAGE_LABEL = 'mtafleet.test/stage'

const USER = 'first-user'
const PASSWORD = 'correct horse battery staple'

export type Pod = {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly labels?: Readonly<Record<string, string>>
    readonly deletionTimestamp?: string
  }
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly image: string }[] }
  readonly status: {
    readonly podIP?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly containerStatuses?: readonly { readonly restartCount: number; readonly ready: boolean }[]
  }
}

/** What of a report is compared with what arrived; of several loads it may be put together. */
export type Books = Pick<LoadReport, 'accepted' | 'unfinished'>

export type Verdict = { readonly arrived: number; readonly duplicated: number }

export async function openStage(name: string, fleet: Fleet, say: (text: string) => void): Promise<Stage> {
  const stage = new Stage(`s-${name}`, fleet, say)
  await stage.prepare()
  return stage
}

export class Stage implements AsyncDisposable {
  readonly namespace: string
  readonly operatorNamespace: string
  readonly internet: World['internet']
  /** In front of a command: runs it in the network of the node that clients submit from. */
  readonly clientExec: readonly string[]
  readonly #fleet: Fleet
  readonly #world: World
  /** One line for whoever watches. */
  readonly say: (text: string) => void
  readonly #loads: Load[] = []
  /** Stream → its source addresses with the names they must say. */
  readonly #sources = new Map<string, Record<string, string>>()
  #users: Record<string, string> = {}

  constructor(namespaceName: string, fleet: Fleet, say: (text: string) => void) {
    this.namespace = namespaceName
    this.operatorNamespace = fleet.operatorNamespace
    this.#world = fleet.worldOf(namespaceName)
    this.internet = this.#world.internet
    this.clientExec = this.#world.clientExec
    this.#fleet = fleet
    this.say = say
  }

  async prepare(): Promise<void> {
    await this.#fleet.kubectl('delete', 'namespace', this.namespace, '--ignore-not-found', '--timeout=180s')
    await this.#fleet.recycleVolumes()
    await this.#fleet.kubectlApply([namespace(this.namespace, { [STAGE_LABEL]: this.namespace })])
    await this.#world.open()
    await this.internet.reset()
    await this.addUser(USER, PASSWORD)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const load of this.#loads) await load.kill()
    await this.#fleet.kubectl('delete', 'namespace', this.namespace, '--ignore-not-found', '--timeout=240s')
    await this.#fleet.recycleVolumes()
  }

  // Kubernetes

  kubectl(...args: string[]): Promise<string> {
    return this.#fleet.kubectl('-n', this.namespace, ...args)
  }

  /** Lines for bash, as an administrator types them: the namespace must be named in them. */
  shell(script: string): Promise<string> {
    return this.#fleet.shell(script)
  }

  /** In the namespace of the operator. */
  operatorKubectl(...args: string[]): Promise<string> {
    return this.#fleet.kubectl('-n', this.operatorNamespace, ...args)
  }

  async apply(...manifests: readonly Manifest[]): Promise<void> {
    await this.#fleet.kubectlApply(manifests, this.namespace)
  }

  async read<T>(kind: string, name: string): Promise<T> {
    return JSON.parse(await this.kubectl('get', kind, name, '-o', 'json')) as T
  }

  async list<T>(kind: string, selector?: string): Promise<T[]> {
    const answer = await this.kubectl('get', kind, ...(selector ? ['-l', selector] : []), '-o', 'json')
    return (JSON.parse(answer) as { items: T[] }).items
  }

  async condition(kind: string, name: string, type: string): Promise<Condition | undefined> {
    const object = await this.read<{ status?: { conditions?: Condition[] } }>(kind, name)
    return object.status?.conditions?.find((one) => one.type === type)
  }

  async ready(kind: string, name: string, withinMillis: number): Promise<void> {
    await this.kubectl('wait', '--for=condition=Ready', `${kind}/${name}`, `--timeout=${Math.ceil(withinMillis / 1000)}s`)
  }

  async waitFor<T>(what: string, withinMillis: number, probe: () => Promise<T | undefined | false>): Promise<T> {
    return waitFor(what, probe, { withinMillis, everyMillis: 500 })
  }

  /** Lets real time go by, where time itself is what the promise is about. */
  async pass(seconds: number): Promise<void> {
    await sleep(seconds * 1000)
  }

  /** kubectl with a bare token instead of the administrator's certificate. */
  async tryAs(token: string, ...args: string[]): Promise<{ readonly ok: boolean; readonly stderr: string }> {
    try {
      await runCommand(await this.#fleet.tokenCommand(token, ['-n', this.namespace, ...args]))
      return { ok: true, stderr: '' }
    } catch (error) {
      if (error instanceof CommandFailed) return { ok: false, stderr: error.stderr }
      throw error
    }
  }

  // The fleet

  /**
   * A pool with source addresses of these nodes (`addressesOf`: which of each) or, with attachment Managed, of none; a TLS Secret, and a stream. Returns
   * when the stream is Ready.
   */
  async deploy(
    name: string,
    options: StreamOptions & {
      readonly nodes: readonly number[]
      readonly addressesOf?: readonly number[]
      readonly attachment?: 'Managed'
    },
  ): Promise<void> {
    const { nodes, addressesOf = [1, 2], attachment, ...streamOptions } = options
    const certificate = await this.issueCertificate(name)
    const addresses =
      attachment === 'Managed' ? addressesOf.flatMap(movingAddresses) : await this.#world.sourceAddresses(nodes, addressesOf)
    const { queue, ...here } = await this.#world.streamOptions()
    await this.apply(
      secret(`${name}-tls`, { 'tls.crt': certificate.certificate, 'tls.key': certificate.key }, 'kubernetes.io/tls'),
      pool(name, { addresses, ...(attachment && { attachment }) }),
      stream(name, {
        ...here,
        ...streamOptions,
        queue: { ...queue, ...streamOptions.queue },
        submission: { tlsSecretRef: { name: `${name}-tls` }, ...streamOptions.submission },
      }),
    )
    this.#sources.set(name, Object.fromEntries(addresses.map((one) => [one.address, one.hostName])))
    await this.ready('sendingstream', name, 180_000)
  }

  /** A certificate for the submission Services of these streams. */
  issueCertificate(...streamNames: readonly string[]): Promise<Certificate> {
    return this.#fleet.authority.issue(streamNames.flatMap((name) => [this.#serverName(name), `${name}-submission`]))
  }

  async waitForReady(streamNames: readonly string[]): Promise<void> {
    for (const name of streamNames) await this.ready('sendingstream', name, 120_000)
  }

  /** Adds a user to the AUTH Secret; the others stay. */
  async addUser(user: string, password: string): Promise<void> {
    this.#users = { ...this.#users, [user]: await this.hashPassword(password) }
    await this.apply(secret('submission-users', this.#users))
  }

  /** As it must stand in an AUTH Secret. */
  async hashPassword(password: string): Promise<string> {
    return formatPasswordHash(await hashPassword(password, randomBytes(16)))
  }

  pods(streamName: string): Promise<Pod[]> {
    return this.list<Pod>('pods', `mtafleet.io/stream=${streamName}`)
  }

  async instances(streamName: string): Promise<MTAInstance[]> {
    return this.list<MTAInstance>('mtainstances', `mtafleet.io/stream=${streamName}`)
  }

  async readyInstances(streamName: string): Promise<MTAInstance[]> {
    const all = await this.instances(streamName)
    return all.filter((one) => one.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True'))
  }

  async addressOwners(streamName: string): Promise<{ address: string; instance: string }[]> {
    const all = await this.instances(streamName)
    return all.flatMap((one) => one.spec.addresses.map(({ address }) => ({ address, instance: one.metadata.name })))
  }

  async restarts(streamName: string): Promise<number> {
    const pods = await this.pods(streamName)
    return pods.reduce((sum, pod) => sum + (pod.status.containerStatuses?.[0]?.restartCount ?? 0), 0)
  }

  async podIdentities(streamName: string): Promise<string[]> {
    const pods = await this.pods(streamName)
    return pods
      .map((pod) => `${pod.metadata.name} ${pod.metadata.uid} restarts=${pod.status.containerStatuses?.[0]?.restartCount ?? 0}`)
      .toSorted()
  }

  async queuedMessages(streamName: string): Promise<number | undefined> {
    const found = await this.read<{ status?: { queue?: { messages: number } } }>('sendingstream', streamName)
    return found.status?.queue?.messages
  }

  /** What is on the interfaces of a node of the local cluster. */
  async addressesOn(node: number): Promise<readonly string[]> {
    type Interface = { readonly addr_info: readonly { readonly local: string }[] }
    const interfaces = JSON.parse(await this.localFaults().nodeExec(node, ['ip', '-json', 'address', 'show'])) as readonly Interface[]
    return interfaces.flatMap((one) => one.addr_info.map(({ local }) => local))
  }

  /** Returns when the agent says that it works by the newest generation of its spec. */
  async agentFollows(instance: string, withinMillis: number): Promise<void> {
    await this.waitFor(`${instance} to follow its spec`, withinMillis, async () => {
      const found = await this.read<MTAInstance>('mtainstance', instance)
      return found.status?.agent?.observedGeneration === found.metadata.generation
    })
  }

  /** Another image with the same content, under another name: what a rollout looks like. With edits: one that is wrong on purpose. */
  otherImage(edits?: readonly SourceEdit[]): Promise<string> {
    return this.#fleet.otherImage(edits)
  }

  // Faults

  localFaults(): NonNullable<Fleet['faults']> {
    if (this.#fleet.faults === undefined) throw new Error('this scenario makes faults that only the local cluster can make')
    return this.#fleet.faults
  }

  async killAgent(instance: string, signal: NodeJS.Signals): Promise<void> {
    await this.killPod(this.namespace, instance, signal, 'mta-agent/main.ts')
  }

  /** Sends a signal to the process of a Pod on the local cluster, by the process id that the host sees. */
  async killPod(podNamespace: string, podName: string, signal: NodeJS.Signals, words = 'main.ts'): Promise<void> {
    const pod = JSON.parse(await this.#fleet.kubectl('-n', podNamespace, 'get', 'pod', podName, '-o', 'json')) as Pod
    const pids = await podProcesses(pod.metadata.uid, words)
    must(pids.length > 0, `Pod ${podName} must have a process with ${words} on this host, had none`)
    for (const pid of pids) process.kill(pid, signal)
  }

  /** Process id of the agent, as this host sees it. */
  async agentProcess(instance: string): Promise<number> {
    const pod = await this.read<Pod>('pod', instance)
    const [pid] = await podProcesses(pod.metadata.uid, 'mta-agent/main.ts')
    if (pid === undefined) throw new Error(`${instance} must have a process on this host, had none`)
    return pid
  }

  /** Returns when the instance accepts again after it was killed. */
  async agentBack(instance: string, withinMillis: number): Promise<void> {
    await this.waitFor(`${instance} to accept again`, withinMillis, async () => {
      const pod = await this.read<Pod>('pod', instance)
      return pod.status.containerStatuses?.[0]?.ready === true && (await podProcesses(pod.metadata.uid, 'mta-agent/main.ts')).length > 0
    })
  }

  async operatorLeader(): Promise<{ readonly identity: string; readonly pod: string }> {
    const leases = JSON.parse(await this.operatorKubectl('get', 'leases', '-o', 'json')) as {
      items: { spec: { holderIdentity?: string } }[]
    }
    const pods = JSON.parse(await this.operatorKubectl('get', 'pods', '-o', 'json')) as { items: Pod[] }
    for (const lease of leases.items) {
      const identity = lease.spec.holderIdentity ?? ''
      const pod = pods.items.find((one) => identity.startsWith(one.metadata.name))
      if (pod) return { identity, pod: pod.metadata.name }
    }
    throw new Error(`no operator Pod holds a Lease in ${this.operatorNamespace}: ${JSON.stringify(leases.items.map((one) => one.spec))}`)
  }

  /** Requests of the API server's audit log between two wall-clock times. */
  apiRequests(from: number, to: number): ReturnType<Fleet['apiRequests']> {
    return this.#fleet.apiRequests(from, to)
  }

  // Mail

  /** Starts the mail client against the stream's Service, as the user that every stage has. */
  async load(streamName: string, options: Pick<LoadOptions, 'count' | 'connections' | 'domains'> & Partial<LoadOptions>): Promise<Load> {
    const load = new Load({
      user: USER,
      password: PASSWORD,
      host: await this.serviceAddress(streamName),
      serverName: this.#serverName(streamName),
      caFile: this.#world.caFile,
      command: [...this.clientExec, ...this.#world.submit],
      run: `${streamName}-${this.#loads.length}`,
      ...options,
    })
    this.#loads.push(load)
    return load
  }

  /** Whether one message is taken from this user. */
  async letsIn(streamName: string, account: { readonly user: string; readonly password: string }): Promise<boolean> {
    const load = await this.load(streamName, { count: 1, connections: 1, domains: ['plain.example'], ...account })
    try {
      const answered = () => load.acceptedCount() > 0 || (load.progress()?.deferred ?? 0) > 0
      await waitFor('an answer', answered, { withinMillis: 20_000 })
      return load.acceptedCount() > 0
    } finally {
      await load.kill()
    }
  }

  async serviceAddress(streamName: string): Promise<string> {
    const service = await this.read<{ spec: { clusterIP: string } }>('service', `${streamName}-submission`)
    return service.spec.clusterIP
  }

  /** SHA-256 fingerprint of the certificate that a new TLS client of the stream is shown. */
  async servedFingerprint(streamName: string): Promise<string> {
    const address = await this.serviceAddress(streamName)
    const answer = await runCommand(
      [...this.clientExec, 'openssl', 's_client', '-connect', `${address}:465`, '-servername', this.#serverName(streamName)],
      { input: 'QUIT\r\n', timeoutMillis: 20_000 },
    )
    const print = await runCommand(['openssl', 'x509', '-noout', '-fingerprint', '-sha256'], { input: answer })
    return print.trim().split('=')[1] ?? ''
  }

  /**
   * Waits until everything that was accepted has arrived, then compares message by message. Throws when something was lost, altered, arrived
   * without having been accepted, or came from an address or by a name that is not the stream's; duplicates are for the scenario to judge.
   * `alone`: looks only at messages of this report, where other streams send or reports come back at the same time.
   */
  async allArrived(streamName: string, report: Books, options: { readonly alone?: boolean } = {}): Promise<Verdict> {
    const sources = this.#sources.get(streamName)
    const expectation: Expectation = {
      accepted: report.accepted,
      uncertain: [...report.unfinished, ...this.#others(report)],
      ...(sources === undefined || !this.#world.seesSources ? {} : { sources }),
    }
    const verdict = await waitFor(
      `all ${report.accepted.length} accepted messages to arrive`,
      async () => {
        const compared = await this.internet.compare(expectation, options.alone ? ofReport(report) : undefined)
        const [first] = compared.lost
        if (first !== undefined) throw new Error(`${compared.lost.length} have not, ${first.messageId} to ${first.recipient} for one`)
        return compared
      },
      { withinMillis: 240_000, everyMillis: 1000 },
    )
    mustEqual('altered messages', verdict.altered, [])
    mustEqual('messages that arrived without having been accepted', verdict.unexpected, [])
    mustEqual('messages from a wrong address or by a wrong name', verdict.wrongSource, [])
    if (!this.#world.seesSources) await this.#mustBeNamed(Object.values(sources ?? {}))
    const duplicated = verdict.duplicated.reduce((sum, one) => sum + one.extraCopies, 0)
    this.say(`  ${streamName}: accepted ${report.accepted.length}, arrived ${verdict.arrived}, twice ${duplicated}`)
    return { arrived: verdict.arrived, duplicated }
  }

  /** Where addresses are translated on the way, the names are what is left to look at. */
  async #mustBeNamed(hostNames: readonly string[]): Promise<void> {
    const wrong = (await this.internet.arrivals()).map(({ hello }) => hello).filter((hello) => !hostNames.includes(hello))
    mustEqual('names that are not of the pool', [...new Set(wrong)], [])
  }

  /** What other loads of this stage were told is accepted: it may arrive, and is compared by whoever holds that load's report. */
  #others(report: Books): Submitted[] {
    const mine = new Set(report.accepted.map((one) => one.messageId))
    return this.#loads.flatMap((load) => load.soFar()).filter((one) => !mine.has(one.messageId))
  }

  /** What kubectl would show to somebody who wonders why a scenario failed. */
  async describe(): Promise<string> {
    const looks = [
      ['get', 'sendingstreams,ippools,mtainstances,pods,pvc', '-o', 'wide'],
      ['describe', 'mtainstances'],
      ['get', 'events', '--sort-by=.lastTimestamp'],
      ['logs', '-l', 'mtafleet.io/stream', '--tail=4000', '--prefix'],
    ]
    const parts = await Promise.all(looks.map((args) => this.kubectl(...args).catch((error: unknown) => String(error))))
    return parts.map((text, index) => `$ kubectl ${looks[index]!.join(' ')}\n${withoutMail(text)}`).join('\n')
  }

  #serverName(streamName: string): string {
    return `${streamName}-submission.${this.namespace}.svc`
  }
}

/** Of a log that has a line or two for each message, what else is in it. */
const withoutMail = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !/"msg":"(delivered|message accepted|accepted alone)"/.test(line))
    .join('\n')

function ofReport(report: Books): (messageId: string | null) => boolean {
  const mine = new Set([...report.accepted, ...report.unfinished].map((one) => one.messageId))
  return (messageId) => messageId !== null && mine.has(messageId)
}
