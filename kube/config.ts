import { readFile, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { parse } from 'yaml'

/**
 * Where the API server is and how to prove who we are: from inside a Pod, or from a kubeconfig file. Tokens, CA bundles and client certificates
 * are rotated while a process runs, so every file is read again when it changes. Credentials must never reach a log or an error message.
 */

export type Tls = {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** The name expected in the server's certificate, when it differs from the URL's host. */
  readonly serverName?: string
  readonly verify: 'Full' | 'None'
}

/** What is needed for a call, now. */
export type Access = { readonly url: string; readonly tls: Tls; readonly token?: string }

export type ApiServer = {
  /** The namespace that commands without one mean: the Pod's, or the context's. */
  readonly namespace: string
  /** Current access; files are looked at again at most once a second. */
  read(): Promise<Access>
  /** The server did not accept the credentials: look at the files now. */
  reread(): Promise<Access>
}

export type Environment = Readonly<Record<string, string | undefined>>

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'
const LOOK_AGAIN_MILLIS = 1000

/** The API server of the cluster that this Pod runs in. Throws when the environment is not that of a Pod. */
export async function openInCluster(env: Environment, directory: string = SERVICE_ACCOUNT): Promise<ApiServer> {
  const host = env['KUBERNETES_SERVICE_HOST']
  const port = env['KUBERNETES_SERVICE_PORT']
  if (!host || !port) {
    throw new Error(
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be set, as they are in every Pod; outside one, name a kubeconfig file',
    )
  }
  const url = `https://${host.includes(':') ? `[${host}]` : host}:${port}`
  const [tokenFile, caFile] = [join(directory, 'token'), join(directory, 'ca.crt')]
  const files = new FollowedFiles(async (read): Promise<Access> => {
    const token = (await read(tokenFile)).trim()
    if (token === '') throw new Error(`${tokenFile} must hold a token, but is empty`)
    return { url, token, tls: { ca: await read(caFile), verify: 'Full' } }
  })
  await files.read()
  const namespace = (await readFile(join(directory, 'namespace'), 'utf8')).trim()
  return { namespace, read: () => files.read(), reread: () => files.reread() }
}

/** The API server that a kubeconfig file names, by its current context or the given one. */
export async function openKubeconfig(path: string, options: { readonly context?: string } = {}): Promise<ApiServer> {
  const load = async (read: ReadText) => accessFrom(readContext(path, await read(path), options.context), dirname(path), read)
  const files = new FollowedFiles(load)
  await files.read()
  const { namespace } = readContext(path, await readFile(path, 'utf8'), options.context)
  return { namespace, read: () => files.read(), reread: () => files.reread() }
}

type Cluster = {
  readonly server?: string
  readonly 'certificate-authority'?: string
  readonly 'certificate-authority-data'?: string
  readonly 'insecure-skip-tls-verify'?: boolean
  readonly 'tls-server-name'?: string
  readonly 'proxy-url'?: string
}
type User = {
  readonly 'client-certificate'?: string
  readonly 'client-certificate-data'?: string
  readonly 'client-key'?: string
  readonly 'client-key-data'?: string
  readonly token?: string
  readonly tokenFile?: string
  readonly [other: string]: unknown
}
type Context = {
  readonly cluster: Cluster
  readonly user: User
  readonly namespace: string
  readonly path: string
  readonly server: string
}
type Named = { readonly name?: string; readonly [part: string]: unknown }
type Kubeconfig = {
  readonly 'current-context'?: string
  readonly contexts?: readonly Named[]
  readonly clusters?: readonly Named[]
  readonly users?: readonly Named[]
}

/** What we would have to obey but do not: better refused than silently ignored. */
const UNSUPPORTED_USER = ['exec', 'auth-provider', 'username', 'password', 'as', 'as-uid', 'as-groups', 'as-user-extra']

function readContext(path: string, text: string, wanted: string | undefined): Context {
  const parsed: unknown = parse(text)
  if (typeof parsed !== 'object' || parsed === null) throw new Error(`${path} must be a kubeconfig file, but holds no mapping`)
  const config = parsed as Kubeconfig
  const name = wanted ?? config['current-context']
  if (!name) throw new Error(`${path} must name a current-context, or a context must be chosen`)
  const context = pick<{ cluster?: string; user?: string; namespace?: string }>(path, config.contexts, 'context', name)
  const cluster = pick<Cluster>(path, config.clusters, 'cluster', context.cluster)
  const user = pick<User>(path, config.users, 'user', context.user)
  if (!cluster.server) throw new Error(`${path}: cluster '${context.cluster}' must have a server`)
  if (cluster['proxy-url']) throw new Error(`${path}: cluster '${context.cluster}' has proxy-url, which is not supported`)
  const unsupported = UNSUPPORTED_USER.filter((key) => user[key] !== undefined)
  if (unsupported.length > 0) {
    throw new Error(
      `${path}: user '${context.user}' has ${unsupported.join(', ')}, which is not supported; a client certificate, token or tokenFile must be given`,
    )
  }
  return { cluster, user, namespace: context.namespace ?? 'default', path, server: cluster.server }
}

function pick<T>(path: string, entries: readonly Named[] | undefined, part: 'context' | 'cluster' | 'user', name: string | undefined): T {
  const found = entries?.find((entry) => entry.name === name)?.[part]
  if (typeof found !== 'object' || found === null) {
    const known = (entries ?? []).map((entry) => `'${entry.name}'`).join(', ')
    throw new Error(`${path} must have a ${part} named '${name}', but has ${known === '' ? 'none' : known}`)
  }
  return found as T
}

async function accessFrom(context: Context, base: string, read: ReadText): Promise<Access> {
  const { cluster, user } = context
  const either = async (data: string | undefined, file: string | undefined) => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8')
    return file === undefined ? undefined : read(isAbsolute(file) ? file : join(base, file))
  }
  const ca = await either(cluster['certificate-authority-data'], cluster['certificate-authority'])
  const cert = await either(user['client-certificate-data'], user['client-certificate'])
  const key = await either(user['client-key-data'], user['client-key'])
  if ((cert === undefined) !== (key === undefined)) throw new Error(`${context.path}: a client certificate must come with its client key`)
  const token = user.token ?? (await either(undefined, user.tokenFile))?.trim()
  const serverName = cluster['tls-server-name']
  const tls: Tls = {
    verify: cluster['insecure-skip-tls-verify'] === true ? 'None' : 'Full',
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(serverName === undefined ? {} : { serverName }),
  }
  return { url: context.server.replace(/\/+$/, ''), tls, ...(token === undefined ? {} : { token }) }
}

type ReadText = (path: string) => Promise<string>
type Mark = { readonly path: string; readonly version: string }

/** A value loaded from files, loaded again when one of them has another inode, size or time. */
class FollowedFiles<T> {
  readonly #load: (read: ReadText) => Promise<T>
  #current: { readonly value: T; readonly marks: readonly Mark[] } | undefined
  #lookedAt = -Infinity
  #loading: Promise<T> | undefined

  constructor(load: (read: ReadText) => Promise<T>) {
    this.#load = load
  }

  async read(): Promise<T> {
    const now = performance.now()
    if (this.#current !== undefined && now - this.#lookedAt < LOOK_AGAIN_MILLIS) return this.#current.value
    return this.reread()
  }

  reread(): Promise<T> {
    this.#loading ??= this.#look().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #look(): Promise<T> {
    const { value, marks } = this.#current ?? { value: undefined, marks: [] }
    const fresh = await Promise.all(marks.map(async ({ path, version }) => version === (await versionOf(path))))
    this.#lookedAt = performance.now()
    if (value !== undefined && fresh.every((same) => same)) return value
    const seen: Mark[] = []
    const loaded = await this.#load(async (path) => {
      // The version first: a change between the two reads is then seen next time.
      seen.push({ path, version: await versionOf(path) })
      return readFile(path, 'utf8')
    })
    this.#current = { value: loaded, marks: seen }
    return loaded
  }
}

/** Follows symbolic links: the kubelet rotates projected files by swapping a link. */
async function versionOf(path: string): Promise<string> {
  const { ino, size, mtimeMs } = await stat(path)
  return `${ino}:${size}:${mtimeMs}`
}
