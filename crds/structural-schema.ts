import { z } from 'zod'

/**
 * zod schema → structural OpenAPI v3 schema, as a CustomResourceDefinition wants it. Pure. A keyword that is not on the list is an error and
 * never dropped in silence: what the API server does not check must not look as if it did.
 */

export type StructuralSchema = { readonly [keyword: string]: unknown }

const KEPT = new Set([
  'type',
  'description',
  'default',
  'enum',
  'format',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'required',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
])

/** Said by the type alone, or by a rule of ours where it matters. */
const DROPPED = new Set(['$schema', 'propertyNames', 'pattern'])

const INT32_MAX = 2 ** 31 - 1

export function toStructuralSchema(schema: z.ZodType): StructuralSchema {
  return clean(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', reused: 'inline' }), '')
}

function clean(node: object, path: string): StructuralSchema {
  const entries = Object.entries(node).flatMap(([keyword, value]): [string, unknown][] => {
    if (KEPT.has(keyword)) return [[keyword, value]]
    if (DROPPED.has(keyword)) return []
    switch (keyword) {
      case 'properties':
        return [[keyword, mapValues(value as Record<string, object>, (child, name) => clean(child, `${path}.${name}`))]]
      case 'items':
        return [[keyword, clean(value as object, `${path}[]`)]]
      case 'additionalProperties':
        // z.object emits `false` for io output only, and a record emits a schema; beside `properties` neither would be structural.
        return value === false ? [] : [[keyword, clean(value as object, `${path}[*]`)]]
      default:
        throw new RangeError(`keyword ${keyword} at ${path || '.'} must not occur in a structural schema`)
    }
  })
  return sorted(withFormat(Object.fromEntries(entries)))
}

/** Every integer has bounds, and the format that the bounds allow. */
function withFormat(node: StructuralSchema): StructuralSchema {
  if (node['type'] !== 'integer') return node
  const [least, most] = [Number(node['minimum']), Number(node['maximum'])]
  return { ...node, format: least >= -INT32_MAX && most <= INT32_MAX ? 'int32' : 'int64' }
}

const ORDER = ['description', 'type', 'format', 'default', 'enum']

/** What a reader looks for first comes first. */
function sorted(node: StructuralSchema): StructuralSchema {
  const rank = (keyword: string): number => (ORDER.includes(keyword) ? ORDER.indexOf(keyword) : ORDER.length)
  return Object.fromEntries(Object.entries(node).toSorted(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1)))
}

const mapValues = <A, B>(record: Record<string, A>, map: (value: A, key: string) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value, key)]))
