import type * as z from 'zod'
import { LinkFault } from './frames.ts'

/** What came over a link as JSON. Throws LinkFault with what must be and what was. */
export function parseJson<T>(schema: z.ZodType<T>, kind: string, payload: Buffer): T {
  let value: unknown
  try {
    value = JSON.parse(payload.toString())
  } catch (error) {
    throw new LinkFault(`a ${kind} must be JSON, was not`, { cause: error })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new LinkFault(`a ${kind} must be well formed, was not: ${issue?.path.join('.')} ${issue?.message}`)
}
