/**
 * Observed against desired, so that nothing is written that is already so. What the API server or others have added is no difference;
 * lists of named things are compared by name, for server-side apply keeps its own order.
 */

/** Whether every field that is wanted is already there with that value. Lists must have the same length, except those that others add to. */
export function isCovered(observed: unknown, desired: unknown): boolean {
  if (Array.isArray(desired)) return Array.isArray(observed) && observed.length === desired.length && containsAll(observed, desired)
  if (!isRecord(desired)) return Object.is(observed, desired)
  if (!isRecord(observed)) return false
  return Object.entries(desired).every(([field, value]) => {
    if (value === undefined) return true
    if (SHARED_LISTS.has(field)) return Array.isArray(observed[field]) && containsAll(observed[field], value as readonly unknown[])
    return isCovered(observed[field], value)
  })
}

/** Whether both say the same and nothing more; for documents that are ours alone. */
export const isSame = (a: unknown, b: unknown): boolean => isCovered(a, b) && isCovered(b, a)

/** One text for equal values: fields in the order of their names, undefined ones left out. */
export function canonicalText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`
  if (!isRecord(value)) return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonicalText(field)}`)
  return `{${fields.join(',')}}`
}

const FNV_OFFSET = 0xcbf29ce484222325n
const FNV_PRIME = 0x100000001b3n

/** FNV-1a, 64 bits, over the canonical text: tells versions of one manifest apart; no defence against anybody. */
export function hashOf(value: unknown): string {
  let hash = FNV_OFFSET
  for (const unit of canonicalText(value)) hash = BigInt.asUintN(64, (hash ^ BigInt(unit.codePointAt(0) ?? 0)) * FNV_PRIME)
  return hash.toString(16).padStart(16, '0')
}

/** Lists of metadata that others put their own entries into. */
const SHARED_LISTS: ReadonlySet<string> = new Set(['ownerReferences', 'finalizers'])
/** What tells the members of a list apart, where they have it. */
const MEMBER_KEYS = ['name', 'address', 'domain', 'uid'] as const

function containsAll(observed: readonly unknown[], desired: readonly unknown[]): boolean {
  return desired.every((wanted, index) => {
    const key = isRecord(wanted) ? MEMBER_KEYS.find((name) => typeof wanted[name] === 'string') : undefined
    if (key === undefined)
      return isRecord(wanted) || isOrdered(desired, observed) ? isCovered(observed[index], wanted) : observed.includes(wanted)
    return observed.some((member) => isRecord(member) && isRecord(wanted) && member[key] === wanted[key] && isCovered(member, wanted))
  })
}

/** Numbers stand in an order that means something; so do lists of lists. Texts are members of sets. */
const isOrdered = (desired: readonly unknown[], observed: readonly unknown[]): boolean =>
  [...desired, ...observed].some((member) => typeof member !== 'string')

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
