import type { z } from 'zod'

/**
 * Rules that a schema keyword cannot say, each written twice side by side: in CEL for the API server, in TypeScript for files. The two must
 * never disagree. Messages say what must be and what was.
 */
export type Rule<T> = TransitionRule & {
  readonly holds: (value: T) => boolean
  /** What `args` gives in CEL, in the same order. */
  readonly values: (value: T) => readonly (string | number | readonly string[])[]
  /** Path below the value that is to blame, for files. */
  readonly path?: readonly string[]
}

/** What may not change: seen only by the API server, which alone knows what was before. */
export type TransitionRule = {
  /** CEL, true when all is well; sees `self` after defaulting. */
  readonly cel: string
  readonly must: string
  /** What was: a text with %s and %d, and one CEL expression for each. */
  readonly was: string
  readonly args: readonly string[]
}

const VALIDATIONS = 'x-kubernetes-validations'

export type Validation = { readonly rule: string; readonly message: string; readonly messageExpression: string }

export const celText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

/** One call of `format` and nothing around it: the API server cannot bound the size of string(int), and refuses such a CRD as too costly. */
export const formatValidation = ({ cel, must, was, args }: TransitionRule): Validation => ({
  rule: cel,
  message: must,
  messageExpression: `${celText(`${must.replaceAll('%', '%%')}, ${was}`)}.format([${args.join(', ')}])`,
})

/** What CEL's format makes of the same text. */
function formatWas(text: string, values: readonly (string | number | readonly string[])[]): string {
  const rest = values.map((value) => (typeof value === 'object' ? `[${value.join(', ')}]` : String(value)))
  return text.replaceAll(/%[sd]/g, () => rest.shift() ?? '')
}

/** The schema, refusing what breaks a rule. */
export function withRules<S extends z.ZodType>(schema: S, ...rules: readonly Rule<z.output<S>>[]): S {
  const checked = schema.superRefine((value, context) => {
    for (const rule of rules) {
      if (!rule.holds(value)) {
        context.addIssue({
          code: 'custom',
          message: `${rule.must}, ${formatWas(rule.was, rule.values(value))}`,
          path: [...(rule.path ?? [])],
        })
      }
    }
  })
  return withValidations(checked, rules.map(formatValidation))
}

/** The schema, refusing changes. A file has no before, so there is nothing to check in it. */
export const withTransitions = <S extends z.ZodType>(schema: S, ...rules: readonly TransitionRule[]): S =>
  withValidations(schema, rules.map(formatValidation))

/** A value that stays what it was when it was created. `why` says what to do instead. */
export const immutable = <S extends z.ZodType>(schema: S, field: string, why: string): S =>
  withTransitions(schema, {
    cel: 'self == oldSelf',
    must: `${field} cannot change (${why})`,
    was: 'was "%s", would become "%s"',
    args: ['oldSelf', 'self'],
  })

/** A rule about one string. */
export const textRule = (cel: string, must: string, holds: (value: string) => boolean): Rule<string> => ({
  cel,
  holds,
  must,
  was: 'was "%s"',
  args: ['self'],
  values: (value) => [value],
})

/** A list whose items differ in one field; server-side apply merges it by that field. */
export function mapList<T extends z.ZodObject>(items: z.ZodArray<T>, key: keyof z.output<T> & string): z.ZodArray<T> {
  const keyed = items.meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] })
  return refuseDuplicates(keyed, (item) => String((item as Record<string, unknown>)[key]), key)
}

/** A list of scalars that differ. */
export const setList = <T extends z.ZodType<string>>(items: z.ZodArray<T>): z.ZodArray<T> =>
  refuseDuplicates(items.meta({ 'x-kubernetes-list-type': 'set' }), String, 'items')

export const atomicList = <S extends z.ZodType>(items: S): S => items.meta({ 'x-kubernetes-list-type': 'atomic' })

function refuseDuplicates<T extends z.ZodType>(list: z.ZodArray<T>, keyOf: (item: unknown) => string, what: string): z.ZodArray<T> {
  return list.superRefine((items, context) => {
    const seen = new Set<string>()
    for (const [index, item] of items.entries()) {
      const key = keyOf(item)
      if (seen.has(key)) context.addIssue({ code: 'custom', message: `${what} must be unique, "${key}" was there twice`, path: [index] })
      seen.add(key)
    }
  })
}

function withValidations<S extends z.ZodType>(schema: S, added: readonly Validation[]): S {
  const before = schema.meta()?.[VALIDATIONS]
  return schema.meta({ [VALIDATIONS]: [...(Array.isArray(before) ? (before as unknown[]) : []), ...added] })
}
