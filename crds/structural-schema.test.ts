import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { buildDefinition, DEFINITIONS } from './definitions.ts'
import { type Kind, RESOURCES } from './group.ts'
import { type StructuralSchema, toStructuralSchema } from './structural-schema.ts'

type Field = { readonly path: string; readonly schema: StructuralSchema; readonly isNamed: boolean }

/** The schema and everything below it. `isNamed`: has a name of its own, so kubectl explain shows its description. */
function walk(path: string, schema: StructuralSchema, isNamed: boolean): Field[] {
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, StructuralSchema>)
  const inner = ['items', 'additionalProperties'].flatMap((keyword) => {
    const child = schema[keyword] as StructuralSchema | undefined
    return child === undefined ? [] : walk(`${path}[]`, child, false)
  })
  return [{ path, schema, isNamed }, ...properties.flatMap(([name, child]) => walk(`${path}.${name}`, child, true)), ...inner]
}

const isBounded = ({ schema }: Field, ...keywords: readonly string[]): boolean => keywords.every((keyword) => keyword in schema)

/** Each says what it demands of which fields; the names of those that lack it are the answer. */
const DEMANDS: Readonly<Record<string, (field: Field) => boolean>> = {
  'every field has a description': (field) => !field.isNamed || /^\S.{6,}[.)]$/s.test(field.schema['description'] as string),
  'every type is one of five': ({ schema }) => ['object', 'array', 'string', 'integer'].includes(String(schema['type'])),
  'every string is an enum, a time or bounded': (field) =>
    field.schema['type'] !== 'string' ||
    isBounded(field, 'enum') ||
    field.schema['format'] === 'date-time' ||
    isBounded(field, 'maxLength'),
  'every list is bounded and says how it merges': (field) =>
    field.schema['type'] !== 'array' || isBounded(field, 'maxItems', 'items', 'x-kubernetes-list-type'),
  'every map is bounded': (field) => !('additionalProperties' in field.schema) || isBounded(field, 'maxProperties'),
  'every object says what is in it': (field) =>
    field.schema['type'] !== 'object' || isBounded(field, 'properties') || isBounded(field, 'additionalProperties'),
  'every number is bounded on both sides and has a size': (field) =>
    field.schema['type'] !== 'integer' || isBounded(field, 'minimum', 'maximum', 'format'),
  'every enum value is CamelCase': ({ schema }) => ((schema['enum'] ?? []) as string[]).every((value) => /^[A-Z][A-Za-z]+$/.test(value)),
  'every rule says what must be, and what was': ({ schema }) =>
    ((schema['x-kubernetes-validations'] ?? []) as { message: string; messageExpression: string }[]).every(
      ({ message, messageExpression }) => /must|cannot/.test(message) && /was|were|did/.test(messageExpression),
    ),
}

describe.each(Object.keys(RESOURCES) as Kind[])('%s', (kind) => {
  const { spec, status } = DEFINITIONS[kind]
  const fields = [...walk('spec', toStructuralSchema(spec), true), ...walk('status', toStructuralSchema(status), true)]

  test.each(Object.entries(DEMANDS))('%s', (_, isMet) => {
    expect(fields.filter((field) => !isMet(field)).map(({ path }) => path)).toEqual([])
  })

  test('conditions come first in the status', () => {
    expect(Object.keys(toStructuralSchema(status)['properties'] as object)[0]).toBe('conditions')
  })
})

test('names are short, ours alone and in one category', () => {
  const names = (Object.keys(RESOURCES) as Kind[]).map((kind) => (buildDefinition(kind) as { spec: { names: object } }).spec.names)
  expect(names).toEqual([
    {
      kind: 'SendingStream',
      listKind: 'SendingStreamList',
      plural: 'sendingstreams',
      singular: 'sendingstream',
      shortNames: ['stream', 'streams'],
      categories: ['mtafleet'],
    },
    { kind: 'IPPool', listKind: 'IPPoolList', plural: 'ippools', singular: 'ippool', shortNames: ['ipp'], categories: ['mtafleet'] },
    {
      kind: 'MTAInstance',
      listKind: 'MTAInstanceList',
      plural: 'mtainstances',
      singular: 'mtainstance',
      shortNames: ['mtai'],
      categories: ['mtafleet'],
    },
  ])
})

test('what has no structural form is an error and not left out', () => {
  expect(() => toStructuralSchema(z.object({ one: z.union([z.string(), z.int()]) }))).toThrow(
    'keyword anyOf at .one must not occur in a structural schema',
  )
})

test('a number gets the size that its bounds allow', () => {
  const schema = z.object({ port: z.int().min(1).max(65535), count: z.int().min(0) })
  expect(toStructuralSchema(schema)).toEqual({
    type: 'object',
    properties: {
      count: { type: 'integer', format: 'int64', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      port: { type: 'integer', format: 'int32', minimum: 1, maximum: 65535 },
    },
    required: ['port', 'count'],
  })
})
