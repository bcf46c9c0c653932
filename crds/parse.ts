import { z } from 'zod'
import { nameRule } from './fields.ts'
import { API_VERSION, type Kind } from './group.ts'
import { type IPPool, IPPoolSpec, IPPoolStatus } from './ip-pool.ts'
import { type MTAInstance, MTAInstanceSpec, MTAInstanceStatus } from './mta-instance.ts'
import { type Rule, withRules } from './rules.ts'
import { type SendingStream, SendingStreamSpec, SendingStreamStatus } from './sending-stream.ts'

/**
 * Documents that cross the border: from a file, or from an API server of another version. What comes out is complete: defaults are filled
 * in and every rule holds. Nothing is guessed and, in a file, nothing is ignored.
 */

/** What was wrong at one place. */
export type Problem = { readonly path: string; readonly must: string }

/** All that is wrong with a document, one line each: `spec.ports.admin: must be at least 0, was -1`. */
export class InvalidDocument extends Error {
  override readonly name = 'InvalidDocument'
  readonly problems: readonly Problem[]

  constructor(kind: Kind, problems: readonly Problem[]) {
    super(`not a valid ${kind}: ${problems.map(({ path, must }) => `${path}: ${must}`).join('; ')}`)
    this.problems = problems
  }
}

/** `refuse` for files, where an unknown field is a spelling mistake; `ignore` for what a newer API server may have added. */
export type UnknownFields = 'refuse' | 'ignore'

/** Throws InvalidDocument. */
export const parseSendingStream = (document: unknown, unknownFields: UnknownFields = 'refuse'): SendingStream =>
  parse('SendingStream', STREAM, document, unknownFields) as SendingStream

/** Throws InvalidDocument. */
export const parseIPPool = (document: unknown, unknownFields: UnknownFields = 'refuse'): IPPool =>
  parse('IPPool', POOL, document, unknownFields) as IPPool

/** Throws InvalidDocument. */
export const parseMTAInstance = (document: unknown, unknownFields: UnknownFields = 'refuse'): MTAInstance =>
  parse('MTAInstance', INSTANCE, document, unknownFields) as MTAInstance

/** Metadata belongs to the API server: only what we rely on is checked, all of it is kept. */
const Metadata = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
})

const envelope = <S extends z.ZodType, T extends z.ZodType>(kind: Kind, spec: S, status: T) =>
  withRules(
    z.object({
      apiVersion: z.literal(API_VERSION),
      kind: z.literal(kind),
      metadata: Metadata,
      spec,
      status: status.optional(),
    }),
    nameRule(kind) as Rule<unknown>,
  )

const STREAM = envelope('SendingStream', SendingStreamSpec, SendingStreamStatus)
const POOL = envelope('IPPool', IPPoolSpec, IPPoolStatus)
const INSTANCE = envelope('MTAInstance', MTAInstanceSpec, MTAInstanceStatus)

function parse(kind: Kind, schema: z.ZodType, document: unknown, unknownFields: UnknownFields): unknown {
  const result = schema.safeParse(document, { reportInput: true })
  const wrong = result.success ? [] : result.error.issues.map((issue) => describeIssue(issue, document))
  const unknown = result.success && unknownFields === 'refuse' ? findUnknown(document, result.data, []) : []
  if (wrong.length + unknown.length > 0) throw new InvalidDocument(kind, [...wrong, ...unknown])
  return result.data
}

function describeIssue(issue: z.core.$ZodIssue, document: unknown): Problem {
  const path = formatPath(issue.path)
  if (issue.code === 'custom') return { path, must: issue.message }
  const was = valueAt(document, issue.path)
  return { path, must: `must be ${wanted(issue)}, was ${was === undefined ? 'missing' : excerpt(was)}` }
}

function wanted(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return issue.expected === 'int' ? 'a whole number' : `of type ${issue.expected}`
  if (issue.code === 'invalid_value') return issue.values.length === 1 ? String(issue.values[0]) : `one of ${issue.values.join(', ')}`
  if (issue.code === 'too_small') return `at least ${issue.minimum}${unitOf(issue.origin)}`
  if (issue.code === 'too_big') return `at most ${issue.maximum}${unitOf(issue.origin)}`
  return issue.code === 'invalid_format' ? `in the format ${issue.format}` : issue.message
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long'
  return origin === 'array' || origin === 'set' ? ' items long' : ''
}

/** zod leaves out what a schema does not know; whatever is in the input and not in the output was not known. */
function findUnknown(before: unknown, after: unknown, path: readonly PropertyKey[]): Problem[] {
  if (typeof before !== 'object' || before === null || typeof after !== 'object' || after === null) return []
  return Object.entries(before).flatMap(([key, value]): Problem[] => {
    const here = [...path, Array.isArray(before) ? Number(key) : key]
    if (!(key in after)) return [{ path: formatPath(here), must: `must be absent: there is no such field, was ${excerpt(value)}` }]
    return findUnknown(value, (after as Record<string, unknown>)[key], here)
  })
}

const formatPath = (path: readonly PropertyKey[]): string =>
  path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : `${text}${text && '.'}${String(part)}`), '') ||
  'document'

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined),
    document,
  )
}

/** A message must stay readable whatever was in the file. */
function excerpt(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`
}
