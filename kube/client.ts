import type { ApiServer } from './config.ts'
import { isKubeError, KubeError, classifyStatus, type Status } from './errors.ts'
import { apiVersionOf, keyOf, type KubeObject, type ObjectKey, type Resource } from './resources.ts'
import { type CallReport, openTransport, type Request, type Transport } from './transport.ts'

/**
 * Calls to the Kubernetes API, one function for each thing that can be asked. Every call has a deadline and takes a signal; every failure is a
 * KubeError. Nothing is tried again here: whoever calls knows whether that is right. Objects are sent and returned as raw JSON.
 */

export type Call = {
  readonly signal: AbortSignal
  /** Default 10 s. */
  readonly deadlineMillis?: number
}

export type Selection = {
  /** All namespaces when absent. */
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
}

export type Page<T> = { readonly items: readonly T[]; readonly resourceVersion: string }

/** One line of a watch. An ERROR line is thrown as a KubeError instead. */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly object: { readonly metadata: { readonly resourceVersion: string } } }

export type WatchOptions = Selection & {
  readonly resourceVersion: string
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number
  /** Ends in unavailable (timeout) when nothing came for so long, bookmarks included. */
  readonly silenceMillis: number
}

export type Preconditions = { readonly uid?: string; readonly resourceVersion?: string }
export type DeleteOptions = Preconditions & {
  readonly propagation?: 'Foreground' | 'Background' | 'Orphan'
  readonly gracePeriodSeconds?: number
}
export type ApplyOptions = {
  /** Field owner (field manager). */
  readonly owner: string
  /** Force: take fields over from others. Refuse: a conflict when another owner has set them differently. */
  readonly conflicts?: 'Force' | 'Refuse'
}

export type Client = AsyncDisposable & {
  /** Throws notFound when there is none. */
  get<T extends KubeObject>(of: Resource<T>, key: ObjectKey, call: Call): Promise<T>
  /** Undefined when there is none. */
  find<T extends KubeObject>(of: Resource<T>, key: ObjectKey, call: Call): Promise<T | undefined>
  /** Everything selected, fetched in pages of 500; the deadline is for each page. */
  list<T extends KubeObject>(of: Resource<T>, selection: Selection, call: Call): Promise<Page<T>>
  /** The same, page by page: for those who must not hold it all at once. */
  listPages<T extends KubeObject>(of: Resource<T>, selection: Selection, call: Call): AsyncGenerator<Page<T>, void, void>
  /** Ends when the server ends it. The deadline is for the start. */
  watch<T extends KubeObject>(of: Resource<T>, options: WatchOptions, call: Call): AsyncGenerator<WatchEvent<T>, void, void>
  /** Server-side apply: creates the object or changes the fields given. `apiVersion` and `kind` are filled in. */
  apply<T extends KubeObject>(of: Resource<T>, object: NoInfer<T>, options: ApplyOptions, call: Call): Promise<T>
  /** The same for the status subresource; `object` carries metadata (name, namespace) and status. */
  applyStatus<T extends KubeObject>(
    of: Resource<T>,
    object: KubeObject & { readonly status: unknown },
    options: ApplyOptions,
    call: Call,
  ): Promise<T>
  create<T extends KubeObject>(of: Resource<T>, object: NoInfer<T>, call: Call): Promise<T>
  /** Replaces the object. Conflict when metadata.resourceVersion, which must be given, is no longer current. */
  update<T extends KubeObject>(of: Resource<T>, object: NoInfer<T>, call: Call): Promise<T>
  /** JSON merge patch (RFC 7386); a resourceVersion in it is a precondition. */
  patch<T extends KubeObject>(of: Resource<T>, key: ObjectKey, patch: object, call: Call): Promise<T>
  /** Conflict when a precondition does not hold; notFound when it is gone already. */
  delete(of: Resource, key: ObjectKey, options: DeleteOptions, call: Call): Promise<void>
  /** Any other path, as text: /readyz, /version, a Pod's log. */
  read(path: string, call: Call): Promise<string>
}

export const DEFAULT_DEADLINE_MILLIS = 10_000
const PAGE_LIMIT = 500
const APPLY = 'application/apply-patch+yaml'
const MERGE = 'application/merge-patch+json'
const JSON_TYPE = 'application/json'

export function openClient(server: ApiServer, options: { readonly onCall?: (report: CallReport) => void } = {}): Client {
  return new ApiClient(openTransport(server, options.onCall))
}

class ApiClient implements Client {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  async get<T extends KubeObject>(of: Resource<T>, key: ObjectKey, call: Call): Promise<T> {
    return this.#json<T>({ method: 'GET', path: objectPath(of, key), accept: acceptOne(of) }, call)
  }

  async find<T extends KubeObject>(of: Resource<T>, key: ObjectKey, call: Call): Promise<T | undefined> {
    try {
      return await this.get(of, key, call)
    } catch (error) {
      if (isKubeError(error, 'notFound')) return undefined
      throw error
    }
  }

  async list<T extends KubeObject>(of: Resource<T>, selection: Selection, call: Call): Promise<Page<T>> {
    const items: T[] = []
    let resourceVersion = ''
    for await (const page of this.listPages(of, selection, call)) {
      items.push(...page.items)
      resourceVersion = page.resourceVersion
    }
    return { items, resourceVersion }
  }

  async *listPages<T extends KubeObject>(of: Resource<T>, selection: Selection, call: Call): AsyncGenerator<Page<T>, void, void> {
    let token = ''
    do {
      const query = { ...selectors(selection), limit: String(PAGE_LIMIT), ...(token === '' ? {} : { continue: token }) }
      const path = `${collectionPath(of, selection.namespace)}?${new URLSearchParams(query).toString()}`
      const list = await this.#json<RawList<T>>({ method: 'GET', path, accept: acceptList(of) }, call)
      yield { items: list.items ?? [], resourceVersion: list.metadata.resourceVersion }
      token = list.metadata.continue ?? ''
    } while (token !== '')
  }

  async *watch<T extends KubeObject>(of: Resource<T>, options: WatchOptions, call: Call): AsyncGenerator<WatchEvent<T>, void, void> {
    const query = {
      ...selectors(options),
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: options.resourceVersion,
      timeoutSeconds: String(options.timeoutSeconds),
    }
    const path = `${collectionPath(of, options.namespace)}?${new URLSearchParams(query).toString()}`
    const request: Request = { method: 'GET', path, accept: acceptOne(of) }
    for await (const line of splitLines(this.#transport.stream(request, { ...timing(call), silenceMillis: options.silenceMillis }))) {
      yield parseWatchLine<T>(line)
    }
  }

  apply<T extends KubeObject>(of: Resource<T>, object: NoInfer<T>, options: ApplyOptions, call: Call): Promise<T> {
    return this.#apply(of, object, { ...options, path: objectPath(of, keyOf(object)) }, call)
  }

  applyStatus<T extends KubeObject>(
    of: Resource<T>,
    object: KubeObject & { readonly status: unknown },
    options: ApplyOptions,
    call: Call,
  ): Promise<T> {
    return this.#apply(of, object, { ...options, path: `${objectPath(of, keyOf(object))}/status` }, call)
  }

  create<T extends KubeObject>(of: Resource<T>, object: NoInfer<T>, call: Call): Promise<T> {
    const path = `${collectionPath(of, object.metadata.namespace)}?fieldValidation=Strict`
    return this.#json({ method: 'POST', path, accept: JSON_TYPE, body: { type: JSON_TYPE, text: encode(of, object) } }, call)
  }

  async update<T extends KubeObject>(of: Resource<T>, object: NoInfer<T>, call: Call): Promise<T> {
    if (!object.metadata.resourceVersion)
      throw new TypeError('metadata.resourceVersion must be given, for an update must not overwrite unseen changes')
    const path = `${objectPath(of, keyOf(object))}?fieldValidation=Strict`
    return this.#json({ method: 'PUT', path, accept: JSON_TYPE, body: { type: JSON_TYPE, text: encode(of, object) } }, call)
  }

  patch<T extends KubeObject>(of: Resource<T>, key: ObjectKey, patch: object, call: Call): Promise<T> {
    const path = `${objectPath(of, key)}?fieldValidation=Strict`
    return this.#json({ method: 'PATCH', path, accept: JSON_TYPE, body: { type: MERGE, text: JSON.stringify(patch) } }, call)
  }

  async delete(of: Resource, key: ObjectKey, options: DeleteOptions, call: Call): Promise<void> {
    const { uid, resourceVersion, propagation, gracePeriodSeconds } = options
    const preconditions = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) }
    const body = {
      apiVersion: 'meta.k8s.io/v1',
      kind: 'DeleteOptions',
      ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }),
      ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    }
    const request: Request = {
      method: 'DELETE',
      path: objectPath(of, key),
      accept: JSON_TYPE,
      body: { type: JSON_TYPE, text: JSON.stringify(body) },
    }
    await this.#transport.exchange(request, timing(call))
  }

  read(path: string, call: Call): Promise<string> {
    return this.#transport.exchange({ method: 'GET', path, accept: '*/*' }, timing(call))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  #apply<T extends KubeObject>(of: Resource, object: KubeObject, to: ApplyOptions & { readonly path: string }, call: Call): Promise<T> {
    const query = new URLSearchParams({ fieldManager: to.owner, force: String(to.conflicts !== 'Refuse'), fieldValidation: 'Strict' })
    const body = { type: APPLY, text: encode(of, object) }
    return this.#json({ method: 'PATCH', path: `${to.path}?${query.toString()}`, accept: JSON_TYPE, body }, call)
  }

  async #json<T>(request: Request, call: Call): Promise<T> {
    return parseJson(await this.#transport.exchange(request, timing(call))) as T
  }
}

type RawList<T> = { readonly items?: readonly T[]; readonly metadata: { readonly resourceVersion: string; readonly continue?: string } }

const timing = (call: Call) => ({ signal: call.signal, deadlineMillis: call.deadlineMillis ?? DEFAULT_DEADLINE_MILLIS })

const encode = (of: Resource, object: KubeObject): string => JSON.stringify({ ...object, apiVersion: apiVersionOf(of), kind: of.kind })

const METADATA = (kind: string) => `application/json;as=${kind};g=meta.k8s.io;v=v1`
const acceptOne = (of: Resource): string => (of.view === 'Metadata' ? METADATA('PartialObjectMetadata') : JSON_TYPE)
const acceptList = (of: Resource): string => (of.view === 'Metadata' ? METADATA('PartialObjectMetadataList') : JSON_TYPE)

export function collectionPath(of: Resource, namespace: string | undefined): string {
  const root = of.group === '' ? `/api/${of.version}` : `/apis/${of.group}/${of.version}`
  if (namespace === undefined || !of.namespaced) return `${root}/${of.plural}`
  return `${root}/namespaces/${segment(namespace)}/${of.plural}`
}

export function objectPath(of: Resource, key: ObjectKey): string {
  if (of.namespaced && key.namespace === undefined) throw new TypeError(`${of.kind} '${key.name}' must be named with its namespace`)
  return `${collectionPath(of, key.namespace)}/${segment(key.name)}`
}

/** Names come from objects that others wrote: they must not be able to climb out of their place in the URL. */
function segment(name: string): string {
  if (name === '' || name === '.' || name === '..') throw new TypeError(`'${name}' must be the name of an object`)
  return encodeURIComponent(name)
}

function selectors({ labelSelector, fieldSelector }: Selection): Record<string, string> {
  return { ...(labelSelector === undefined ? {} : { labelSelector }), ...(fieldSelector === undefined ? {} : { fieldSelector }) }
}

/** Lines of a stream; a last line without its end is dropped, for it may be cut short. */
export async function* splitLines(pieces: AsyncIterable<string>): AsyncGenerator<string, void, void> {
  let rest = ''
  for await (const piece of pieces) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') yield line
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const start = JSON.stringify(text.slice(0, 100))
    throw new KubeError({ kind: 'unavailable', reason: 'garbled' }, `the API server must answer in JSON, but answered ${start}`, { cause })
  }
}

function parseWatchLine<T>(line: string): WatchEvent<T> {
  const event = parseJson(line) as WatchEvent<T> | { readonly type: 'ERROR'; readonly object: Status }
  if (event.type !== 'ERROR') return event
  const failure = classifyStatus(event.object.code ?? 500, event.object)
  throw new KubeError(failure, event.object.message ?? 'the API server ended the watch with an error')
}
