import { formatKey, isOlderVersion, keyOf, type KubeObject, type ObjectKey } from './resources.ts'
import type { Sink } from './reflector.ts'

/**
 * A read-only view of the objects of one kind, filled by one reflector or by one for each namespace. Answers only what it has seen: before
 * all sections have synced, absence means nothing. Objects in it are shared and must not be changed. What this process has written itself can be put in
 * at once (`expect`): older news of such an object, still under way in the watch, is then ignored.
 */

export type Change<T> = { readonly key: ObjectKey; readonly before: T | undefined; readonly after: T | undefined }

/** Names of what an object shall be found by; each index gives the values of one object. */
export type Indexes<T, I extends string> = { readonly [name in I]: (object: T) => readonly string[] }

/** More than the writes that can be under way at any time. */
const GONE_REMEMBERED = 1024

export class Cache<T extends KubeObject, I extends string = never> {
  readonly #indexes: Indexes<T, I>
  readonly #objects = new Map<string, T>()
  /** Index name and value → keys. */
  readonly #found = new Map<string, Set<string>>()
  /** Keys of our own writes that no watch has shown yet → the resource version they got. */
  readonly #expected = new Map<string, string>()
  /** What was deleted last → the version it went with: an answer to an older write of ours must not bring it back. Bounded; oldest out first. */
  readonly #gone = new Map<string, string>()
  readonly #sections: { readonly namespace: string | undefined; readonly keys: Set<string> }[] = []
  #listed: readonly T[] | undefined
  readonly #listeners: ((change: Change<T>) => void)[] = []
  /** Section → its namespace. */
  readonly #unsynced = new Map<symbol, string | undefined>()
  readonly #synced = Promise.withResolvers<void>()

  constructor(indexes: Indexes<T, I>) {
    this.#indexes = indexes
  }

  get(key: ObjectKey): T | undefined {
    return this.#objects.get(formatKey(key))
  }

  /** In the order of their keys, so that equal worlds give equal lists. */
  list(): readonly T[] {
    this.#listed ??= this.#inOrder(this.#objects.keys())
    return this.#listed
  }

  /** Those for which the index gave this value, in the order of their keys. */
  by(index: I, value: string): readonly T[] {
    return this.#inOrder(this.#found.get(indexKey(index, value)) ?? [])
  }

  get size(): number {
    return this.#objects.size
  }

  hasSynced(): boolean {
    return this.#sections.length > 0 && this.#unsynced.size === 0
  }

  /** The namespaces of the sections that have no list yet; undefined for the one that holds all. */
  unsynced(): readonly (string | undefined)[] {
    return [...this.#unsynced.values()]
  }

  /** Resolves when every section has its first list. */
  async waitForSync(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const aborted = Promise.withResolvers<never>()
    const onAbort = () => aborted.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([this.#synced.promise, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Called for every change, after the cache has it. A throw ends the reflector the change came from. */
  onChange(listener: (change: Change<T>) => void): void {
    this.#listeners.push(listener)
  }

  /** The answer to a write of our own. Ignored when the watch was faster, or when no section is responsible for it. */
  expect(object: T): void {
    const key = keyOf(object)
    const section = this.#sections.find(({ namespace }) => namespace === undefined || namespace === key.namespace)
    const known = this.#objects.get(formatKey(key))?.metadata.resourceVersion
    const { resourceVersion } = object.metadata
    if (section === undefined || resourceVersion === undefined) return
    const newest = known ?? this.#gone.get(formatKey(key))
    if (newest !== undefined && !isOlderVersion(newest, resourceVersion)) return
    this.#expected.set(formatKey(key), resourceVersion)
    section.keys.add(formatKey(key))
    this.#put(object)
  }

  /**
   * A list that is newer than what the watches have shown so far: of the objects in `scope` this is all there is, as of `resourceVersion`. What the
   * watches still bring from before it is then ignored.
   */
  catchUp(objects: readonly T[], resourceVersion: string, scope: (object: T) => boolean): void {
    for (const object of objects) this.expect(object)
    const present = new Set(objects.map((object) => formatKey(keyOf(object))))
    for (const [key, known] of [...this.#objects]) {
      if (present.has(key) || !scope(known) || !isOlderVersion(known.metadata.resourceVersion, resourceVersion)) continue
      for (const { keys } of this.#sections) keys.delete(key)
      this.#expected.set(key, resourceVersion)
      this.#remove(key)
      this.#bury(key, resourceVersion)
    }
  }

  /** The place where one reflector puts its objects: those of a namespace, or all. All must be opened before the first is filled. */
  openSection(namespace?: string): Sink<T> {
    const section = Symbol('section')
    const keys = new Set<string>()
    this.#sections.push({ namespace, keys })
    this.#unsynced.set(section, namespace)
    const put = (object: T) => {
      const key = formatKey(keyOf(object))
      if (!this.#isNews(key, object.metadata.resourceVersion)) return
      keys.add(key)
      this.#put(object)
    }
    const remove = (key: string, resourceVersion: string | undefined) => {
      if (!this.#isNews(key, resourceVersion)) return
      keys.delete(key)
      this.#remove(key)
      if (resourceVersion !== undefined) this.#bury(key, resourceVersion)
    }
    return {
      put,
      remove: (object) => remove(formatKey(keyOf(object)), object.metadata.resourceVersion),
      replace: (objects, resourceVersion) => {
        const present = new Set(objects.map((object) => formatKey(keyOf(object))))
        for (const key of keys) if (!present.has(key)) remove(key, resourceVersion)
        for (const object of objects) put(object)
        this.#markSynced(section)
      },
    }
  }

  /** Whether this version of an object is as new as our own last write of it, if there was one. */
  #isNews(key: string, resourceVersion: string | undefined): boolean {
    if (isOlderVersion(resourceVersion, this.#expected.get(key))) return false
    this.#expected.delete(key)
    return true
  }

  #put(object: T): void {
    const key = keyOf(object)
    const before = this.#objects.get(formatKey(key))
    const { uid, resourceVersion } = object.metadata
    if (before !== undefined && before.metadata.uid === uid && before.metadata.resourceVersion === resourceVersion) return
    if (before !== undefined) this.#unindex(before)
    this.#objects.set(formatKey(key), object)
    this.#index(object)
    this.#tell({ key, before, after: object })
  }

  #remove(text: string): void {
    const before = this.#objects.get(text)
    if (before === undefined) return
    this.#objects.delete(text)
    this.#unindex(before)
    this.#tell({ key: keyOf(before), before, after: undefined })
  }

  #bury(key: string, resourceVersion: string): void {
    this.#gone.delete(key)
    this.#gone.set(key, resourceVersion)
    const [oldest] = this.#gone.keys()
    if (this.#gone.size > GONE_REMEMBERED && oldest !== undefined) this.#gone.delete(oldest)
  }

  #tell(change: Change<T>): void {
    this.#listed = undefined
    for (const listener of this.#listeners) listener(change)
  }

  #markSynced(section: symbol): void {
    this.#unsynced.delete(section)
    if (this.#unsynced.size === 0) this.#synced.resolve()
  }

  #index(object: T): void {
    const key = formatKey(keyOf(object))
    for (const at of this.#places(object)) {
      const keys = this.#found.get(at) ?? new Set<string>()
      this.#found.set(at, keys.add(key))
    }
  }

  #unindex(object: T): void {
    const key = formatKey(keyOf(object))
    for (const at of this.#places(object)) {
      const keys = this.#found.get(at)
      keys?.delete(key)
      if (keys?.size === 0) this.#found.delete(at)
    }
  }

  #places(object: T): string[] {
    const indexes = Object.entries(this.#indexes) as [I, (object: T) => readonly string[]][]
    return indexes.flatMap(([name, valuesOf]) => valuesOf(object).map((value) => indexKey(name, value)))
  }

  #inOrder(keys: Iterable<string>): readonly T[] {
    return [...keys].toSorted().flatMap((key) => this.#objects.get(key) ?? [])
  }
}

const indexKey = (index: string, value: string): string => `${index}\n${value}`
