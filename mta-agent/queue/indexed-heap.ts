/** A heap whose members can move and leave: each member knows its place in it. */
export type HeapMember = { heapIndex: number }
export const OUTSIDE = -1

export class IndexedHeap<T extends HeapMember> {
  readonly #items: T[] = []
  readonly #isBefore: (a: T, b: T) => boolean

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore
  }

  first(): T | undefined {
    return this.#items[0]
  }

  /** In no order. */
  all(): readonly T[] {
    return this.#items
  }

  /** Puts the item in, or to where it belongs after its order changed. */
  place(item: T): void {
    if (item.heapIndex === OUTSIDE) item.heapIndex = this.#items.push(item) - 1
    this.#rise(item)
    this.#sink(item)
  }

  remove(item: T): void {
    const at = item.heapIndex
    if (at === OUTSIDE) return
    const last = this.#items.pop()!
    item.heapIndex = OUTSIDE
    if (last === item) return
    this.#put(last, at)
    this.place(last)
  }

  #rise(item: T): void {
    while (item.heapIndex > 0) {
      const at = item.heapIndex
      const parent = this.#items[(at - 1) >> 1]!
      if (!this.#isBefore(item, parent)) return
      this.#put(item, parent.heapIndex)
      this.#put(parent, at)
    }
  }

  #sink(item: T): void {
    for (;;) {
      const at = item.heapIndex
      const left = this.#items[2 * at + 1]
      const right = this.#items[2 * at + 2]
      const child = left && right && this.#isBefore(right, left) ? right : left
      if (!child || !this.#isBefore(child, item)) return
      this.#put(item, child.heapIndex)
      this.#put(child, at)
    }
  }

  #put(item: T, at: number): void {
    this.#items[at] = item
    item.heapIndex = at
  }
}
