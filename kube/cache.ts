import { formatKey, keyOf, type KubeObject, type ObjectKey } from './resources.ts'
import type { Sink } from './reflector.ts'

/**
 * A read-only view of the objects of one kind, filled by one reflector or by one for each namespace. Answers only what it has seen: before
 * all sections have synced, absence means nothing. Objects in it are shared and must not be changed.
 */

export type Change<T> = { readonly key: ObjectKey; readonly before: T | undefined; readonly after: T | undefined }

/** Names of what an object shall be found by; each index gives the values of one object. */
export type Indexes<T, I extends string> = { readonly [name in I]: (object: T) => readonly string[] }

export class Cache<T extends KubeObject, I extends string = never> {
  readonly #indexes: Indexes<T, I>
  readonly #objects = new Map<string, T>()
  /** Index name and value → keys. */
  readonly #found = new Map<string, Set<string>>()
  readonly #listeners: ((change: Change<T>) => void)[] = []
  readonly #unsynced = new Set<symbol>()
  readonly #synced = Promise.withResolvers<void>()
  #hasSections = false

  constructor(indexes: Indexes<T, I>) {
    this.#indexes = indexes
  }

  get(key: ObjectKey): T | undefined {
    return this.#objects.get(formatKey(key))
  }

  /** In the order of their keys, so that equal worlds give equal lists. */
  list(): readonly T[] {
    return this.#inOrder(this.#objects.keys())
  }

  /** Those for which the index gave this value, in the order of their keys. */
  by(index: I, value: string): readonly T[] {
    return this.#inOrder(this.#found.get(indexKey(index, value)) ?? [])
  }

  get size(): number {
    return this.#objects.size
  }

  hasSynced(): boolean {
    return this.#hasSections && this.#unsynced.size === 0
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

  /** The place where one reflector puts its objects. All must be opened before the first is filled. */
  openSection(): Sink<T> {
    const section = Symbol('section')
    const keys = new Set<string>()
    this.#hasSections = true
    this.#unsynced.add(section)
    const put = (object: T) => {
      keys.add(formatKey(keyOf(object)))
      this.#put(object)
    }
    const remove = (key: string) => {
      keys.delete(key)
      this.#remove(key)
    }
    return {
      put,
      remove: (object) => remove(formatKey(keyOf(object))),
      replace: (objects) => {
        const present = new Set(objects.map((object) => formatKey(keyOf(object))))
        for (const key of keys) if (!present.has(key)) remove(key)
        for (const object of objects) put(object)
        this.#markSynced(section)
      },
    }
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

  #tell(change: Change<T>): void {
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
