import { Resolver } from 'node:dns/promises'
import type { Millis } from '../queue/queue-store.ts'

/**
 * DNS with deadlines and a bounded cache. It must never hang a delivery, never turn "no answer" into "no such name",
 * and never grow: an answer that was not given is a value here, not an exception.
 */

export type MxRecord = { readonly preference: number; readonly exchange: string }
export type HostAddress = { readonly address: string; readonly family: 4 | 6 }

export type DnsAnswer<T> =
  | { readonly kind: 'records'; readonly records: readonly T[] }
  /** The name exists, but has no such record (NODATA). */
  | { readonly kind: 'none' }
  /** The name does not exist (NXDOMAIN). */
  | { readonly kind: 'no-name' }
  /** Nobody knows for now: SERVFAIL, refused, no answer in time. */
  | { readonly kind: 'failed'; readonly why: string }

export type MailResolver = {
  /** MX records in the order of the answer; the root, a null MX (RFC 7505), has exchange ''. */
  resolveMx(domain: string): Promise<DnsAnswer<MxRecord>>
  /** A and AAAA records, A first. One family that failed does not hide the other. */
  resolveAddresses(host: string): Promise<DnsAnswer<HostAddress>>
}

export type ResolverOptions = {
  /** `address` or `address:port`; those of resolv.conf when absent. */
  readonly servers?: readonly string[]
  /** Wall clock, in milliseconds. A step of it makes what is kept older or younger by as much. */
  readonly clock: () => Millis
  readonly deadlineMillis?: Millis
  readonly maxEntries?: number
}

const DEADLINE: Millis = 20_000
const MAX_ENTRIES = 20_000
/** A record may not be kept longer than this, whatever its TTL: moves of mail hosts are noticed within the hour. */
const MAX_KEEP: Millis = 3_600_000
/** node:dns tells no TTL for MX, so these are asked again after this time: as short as common TTLs get. */
const KEEP_MX: Millis = 300_000
/** RFC 2308 wants the SOA minimum, which node:dns does not tell: short enough for a corrected zone, long enough for a burst. */
const KEEP_NOTHING: Millis = 60_000
const KEEP_FAILURE: Millis = 5_000

type Kept = { readonly answer: DnsAnswer<never> | DnsAnswer<MxRecord> | DnsAnswer<HostAddress>; readonly until: Millis }
type Found<T> = { readonly answer: DnsAnswer<T>; readonly keep: Millis }

export function openResolver(options: ResolverOptions): MailResolver {
  const dns = new Resolver({ timeout: 3_000, tries: 3 })
  if (options.servers !== undefined) dns.setServers(options.servers)
  const cache = openCache(options.clock, options.maxEntries ?? MAX_ENTRIES)
  const deadline = options.deadlineMillis ?? DEADLINE
  return {
    resolveMx: (domain) => cache.get(`MX ${domain}`, () => withDeadline(lookUpMx(dns, domain), deadline)),
    resolveAddresses: (host) => cache.get(`A ${host}`, () => withDeadline(lookUpAddresses(dns, host), deadline)),
  }
}

async function lookUpMx(dns: Resolver, domain: string): Promise<Found<MxRecord>> {
  try {
    const records = await dns.resolveMx(domain)
    return {
      answer: { kind: 'records', records: records.map(({ priority, exchange }) => ({ preference: priority, exchange })) },
      keep: KEEP_MX,
    }
  } catch (error) {
    return foundNothing(error)
  }
}

async function lookUpAddresses(dns: Resolver, host: string): Promise<Found<HostAddress>> {
  const [four, six] = await Promise.all([
    lookUpFamily(4, () => dns.resolve4(host, { ttl: true })),
    lookUpFamily(6, () => dns.resolve6(host, { ttl: true })),
  ])
  const records = [four, six].flatMap(({ answer }) => (answer.kind === 'records' ? answer.records : []))
  if (records.length > 0) return { answer: { kind: 'records', records }, keep: Math.min(four.keep, six.keep) }
  // "Nobody knows" beats "there is none": only two certain answers make a certain one.
  const failed = [four, six].find(({ answer }) => answer.kind === 'failed')
  if (failed !== undefined) return failed
  return four.answer.kind === 'no-name' ? four : six
}

async function lookUpFamily(
  family: 4 | 6,
  ask: () => Promise<readonly { readonly address: string; readonly ttl: number }[]>,
): Promise<Found<HostAddress>> {
  try {
    const records = await ask()
    return {
      answer: { kind: 'records', records: records.map(({ address }) => ({ address, family })) },
      keep: Math.min(MAX_KEEP, ...records.map(({ ttl }) => ttl * 1000)),
    }
  } catch (error) {
    return foundNothing(error)
  }
}

function foundNothing(error: unknown): Found<never> {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  if (code === undefined) throw error
  if (code === 'ENODATA') return { answer: { kind: 'none' }, keep: KEEP_NOTHING }
  if (code === 'ENOTFOUND') return { answer: { kind: 'no-name' }, keep: KEEP_NOTHING }
  return { answer: { kind: 'failed', why: code }, keep: KEEP_FAILURE }
}

/** The lookup itself cannot be called off without calling off everybody else's; it ends by its own timeouts, unheard. */
async function withDeadline<T>(lookup: Promise<Found<T>>, deadline: Millis): Promise<Found<T>> {
  const late = Promise.withResolvers<Found<T>>()
  const timer = setTimeout(() => late.resolve({ answer: { kind: 'failed', why: 'deadline' }, keep: KEEP_FAILURE }), deadline)
  try {
    return await Promise.race([lookup, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Answers by question, and the questions being asked: equal questions at one time are one question. Oldest entries go first. */
function openCache(clock: () => Millis, maxEntries: number) {
  const kept = new Map<string, Kept>()
  const asked = new Map<string, Promise<DnsAnswer<never>>>()
  const ask = async <T>(key: string, look: () => Promise<Found<T>>): Promise<DnsAnswer<T>> => {
    try {
      const { answer, keep } = await look()
      kept.delete(key)
      if (keep > 0) kept.set(key, { answer: answer as Kept['answer'], until: clock() + keep })
      for (const oldest of kept.keys()) {
        if (kept.size <= maxEntries) break
        kept.delete(oldest)
      }
      return answer
    } finally {
      asked.delete(key)
    }
  }
  return {
    /** The key names the record type, and so the type of its answer. */
    get<T>(key: string, look: () => Promise<Found<T>>): Promise<DnsAnswer<T>> {
      const known = kept.get(key)
      if (known !== undefined && known.until > clock()) return Promise.resolve(known.answer as DnsAnswer<T>)
      const running = asked.get(key) ?? (ask(key, look) as Promise<DnsAnswer<never>>)
      asked.set(key, running)
      return running as Promise<DnsAnswer<T>>
    },
  }
}
