/**
 * A bare API server for tests: one etcd and one kube-apiserver on loopback, in a temporary folder, without nodes and without controllers (so no garbage collection,
 * no namespaces that end, no `default` service account). RBAC and Node authorisation are on; tokens can be made by TokenRequest.
 * Both processes die with the test that opened them, even when it is killed: the kernel sees to it (parent death signal).
 */
import { X509Certificate } from 'node:crypto'
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { ensureBinaries } from './binaries.ts'
import { type KeyPair, createAuthority, createTokenKey, formatKubeconfig, issueCertificate } from './certificates.ts'
import { type ApiServerPlan, AUDIT_POLICY, type EtcdPlan, apiServerArguments, etcdArguments } from './control-plane.ts'
import { lastLines } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'

export type ApiServerOptions = {
  /** Further kube-apiserver flags, `--name=value`. */
  readonly flags?: readonly string[]
  readonly signal?: AbortSignal
}

export type ApiServer = AsyncDisposable & {
  /** Path of a kubeconfig whose user is in system:masters. */
  readonly kubeconfig: string
  readonly url: string
  /** PEM of the authority that signed the serving certificate. */
  readonly caFile: string
  /** One JSON event a line: writes, lists, watches. */
  readonly auditLogFile: string
  /** Writes a kubeconfig for another user, for tests of access rules, and returns its path. */
  kubeconfigFor(user: string, groups?: readonly string[]): Promise<string>
  /** Kills the API server (not etcd): connections break, the port refuses. */
  stop(): Promise<void>
  /** Starts it again on the same port with the same data; resolves when it is ready. */
  start(): Promise<void>
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void
  thaw(): void
  /** A new serving certificate from the same authority; resolves when new connections see it. */
  rotateServingCertificate(): Promise<void>
}

const PREFIX = 'mtafleet-api-'
const START_MILLIS = 60_000

export async function openApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  await ensureBinaries(['etcd', 'kube-apiserver'])
  sweepFoldersOfTheDead()
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
  const server = new LocalApiServer(folder, options)
  try {
    await server.open()
    return server
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

class LocalApiServer implements ApiServer {
  readonly kubeconfig: string
  readonly auditLogFile: string
  readonly #folder: string
  readonly #options: ApiServerOptions
  #plan: ApiServerPlan | undefined
  #admin: KeyPair | undefined
  #etcd: Child | undefined
  #apiServer: Child | undefined

  constructor(folder: string, options: ApiServerOptions) {
    this.#folder = folder
    this.#options = options
    this.kubeconfig = join(folder, 'admin.kubeconfig')
    this.auditLogFile = join(folder, 'audit.log')
  }

  async open(): Promise<void> {
    const ports = await freePorts(3)
    const [clientPort, peerPort, port] = ports as [number, number, number]
    const pki = join(this.#folder, 'pki')
    const authority = await createAuthority(pki)
    const [serving, admin, kubeletClient] = await Promise.all([
      issueCertificate(authority, pki, 'apiserver', SERVING),
      issueCertificate(authority, pki, 'admin', { commonName: 'admin', organizations: ['system:masters'] }),
      issueCertificate(authority, pki, 'apiserver-kubelet', { commonName: 'apiserver-kubelet', organizations: ['system:masters'] }),
    ])
    const auditPolicyFile = join(this.#folder, 'audit-policy.json')
    writeFileSync(auditPolicyFile, AUDIT_POLICY)
    this.#admin = admin
    this.#plan = {
      etcdPort: clientPort,
      bindAddress: '127.0.0.1',
      // Loopback may not be the endpoint of the `kubernetes` Service; nothing connects to this address, which is one reserved for documentation (RFC 5737).
      advertiseAddress: '192.0.2.255',
      port,
      authority,
      serving,
      kubeletClient,
      tokenKey: createTokenKey(pki),
      auditPolicyFile,
      auditLogFile: this.auditLogFile,
      extra: this.#options.flags ?? [],
    }
    writeFileSync(this.kubeconfig, formatKubeconfig(this.url, authority, admin), { mode: 0o600 })
    this.#etcd = startChild('etcd', etcdArguments(etcdPlan(this.#folder, clientPort, peerPort)), this.#folder)
    await this.start()
  }

  get url(): string {
    return `https://127.0.0.1:${this.#opened().port}`
  }

  get caFile(): string {
    return this.#opened().authority.certFile
  }

  async kubeconfigFor(user: string, groups: readonly string[] = []): Promise<string> {
    const { authority } = this.#opened()
    const name = `user-${Buffer.from(user).toString('base64url')}`
    const pair = await issueCertificate(authority, join(this.#folder, 'pki'), name, { commonName: user, organizations: groups })
    const file = join(this.#folder, `${name}.kubeconfig`)
    writeFileSync(file, formatKubeconfig(this.url, authority, pair), { mode: 0o600 })
    return file
  }

  async stop(): Promise<void> {
    const child = this.#apiServer
    this.#apiServer = undefined
    if (child) await killChild(child)
  }

  async start(): Promise<void> {
    if (this.#apiServer) throw new Error('the API server runs already')
    const plan = this.#opened()
    this.#apiServer = startChild('kube-apiserver', apiServerArguments(plan), this.#folder)
    await this.#untilReady(plan)
  }

  freeze(): void {
    this.#running().process.kill('SIGSTOP')
  }

  thaw(): void {
    this.#running().process.kill('SIGCONT')
  }

  async rotateServingCertificate(): Promise<void> {
    const { authority, port } = this.#opened()
    const pair = await issueCertificate(authority, join(this.#folder, 'pki'), 'apiserver', SERVING)
    const wanted = new X509Certificate(readFileSync(pair.certFile)).fingerprint256
    // The server looks at its files when they change, and once a minute for the case that it missed that.
    await watchFor(
      'the API server to show its new certificate',
      async () => ((await servedFingerprint(port)) === wanted ? true : undefined),
      {
        withinMillis: 90_000,
        signal: this.#options.signal,
      },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    const etcd = this.#etcd
    this.#etcd = undefined
    if (etcd) await killChild(etcd)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #untilReady(plan: ApiServerPlan): Promise<void> {
    const admin = this.#admin
    if (!admin) throw new Error('the API server is not open')
    const tls = { ca: readFileSync(plan.authority.certFile), cert: readFileSync(admin.certFile), key: readFileSync(admin.keyFile) }
    const ready = async () => {
      for (const child of [this.#etcd, this.#apiServer]) if (child) assertAlive(child)
      return (await statusOf({ ...tls, host: '127.0.0.1', port: plan.port, path: '/readyz' })) === 200 ? true : undefined
    }
    await watchFor('the API server to be ready', ready, { withinMillis: START_MILLIS, signal: this.#options.signal }, () =>
      this.#apiServer ? logOf(this.#apiServer) : '',
    )
  }

  #opened(): ApiServerPlan {
    if (!this.#plan) throw new Error('the API server is not open')
    return this.#plan
  }

  #running(): Child {
    if (!this.#apiServer) throw new Error('the API server is stopped')
    return this.#apiServer
  }
}

const SERVING = {
  commonName: 'kube-apiserver',
  altNames: ['IP:127.0.0.1', 'IP:10.96.0.1', 'DNS:localhost', 'DNS:kubernetes', 'DNS:kubernetes.default.svc'],
}

function etcdPlan(folder: string, clientPort: number, peerPort: number): EtcdPlan {
  const dataFolder = join(folder, 'etcd')
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 })
  return { dataFolder, clientPort, peerPort }
}

type Child = { readonly name: string; readonly process: ChildProcess; readonly logFile: string }

function startChild(name: string, argv: readonly string[], folder: string): Child {
  const logFile = join(folder, `${name}.log`)
  const log = openSync(logFile, 'a')
  try {
    // setpriv sets the signal, then becomes the program: the process id is the program's own.
    const child = spawn('setpriv', ['--pdeathsig', 'SIGKILL', ...argv], { stdio: ['ignore', log, log], cwd: folder })
    child.on('error', (error) => writeFileSync(logFile, `${error.message}\n`, { flag: 'a' }))
    return { name, process: child, logFile }
  } finally {
    closeSync(log)
  }
}

async function killChild(child: Child): Promise<void> {
  if (hasEnded(child)) return
  const ended = new Promise((resolve) => child.process.once('exit', resolve))
  child.process.kill('SIGKILL')
  await ended
}

function hasEnded({ process: child }: Child): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

function assertAlive(child: Child): void {
  if (hasEnded(child)) throw new Error(`${child.name} ended while it was starting: ${logOf(child)}`)
}

function logOf(child: Child): string {
  return lastLines(readFileSync(child.logFile, 'utf8'), 10)
}

type Probe = { host: string; port: number; path: string; ca: Buffer; cert: Buffer; key: Buffer }

/** The HTTP status, or undefined while nothing answers. */
async function statusOf(probe: Probe): Promise<number | undefined> {
  return await new Promise((resolve) => {
    const call = request({ ...probe, agent: false, timeout: 2_000 }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode)).on('error', () => resolve(undefined))
    })
    call.on('timeout', () => call.destroy()).on('error', () => resolve(undefined))
    call.end()
  })
}

async function servedFingerprint(port: number): Promise<string | undefined> {
  return await new Promise((resolve) => {
    // Only the certificate is looked at; whether it can be trusted is what the caller compares.
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, timeout: 2_000 }, () => {
      resolve(socket.getPeerCertificate().fingerprint256)
      socket.destroy()
    })
    socket
      .on('timeout', () => socket.destroy())
      .on('error', () => resolve(undefined))
      .on('close', () => resolve(undefined))
  })
}

/** Ports that are free now, all held at the same time while they are chosen so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** A test that was killed could not remove its folder; the next one does. */
function sweepFoldersOfTheDead(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.match(/^mtafleet-api-(\d+)-/)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
