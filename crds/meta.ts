import { z } from 'zod'
import { ObjectNameField } from './fields.ts'
import { mapList } from './rules.ts'

/** The part of ObjectMeta we read. Everything the API server fills in is optional here: a file has none of it. */
export type ObjectMeta = {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  readonly generation?: number
  readonly resourceVersion?: string
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
  readonly ownerReferences?: readonly OwnerReference[]
}

export type OwnerReference = {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
  readonly blockOwnerDeletion?: boolean
}

/** A reference to an object of a known kind in the same namespace. */
export const LocalRef = (what: string) =>
  z
    .object({
      name: ObjectNameField.describe(`Name of the ${what}, in the same namespace.`),
    })
    .describe(`The ${what}, in the same namespace.`)

/** metav1.Condition, bounds included. */
export const Condition = z
  .object({
    type: z.string().min(1).max(316).describe('What this condition speaks of, in CamelCase.'),
    status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
    observedGeneration: z.int().min(0).optional().describe('The metadata.generation this was judged from.'),
    lastTransitionTime: z.iso.datetime().describe('When status last changed.'),
    reason: z.string().min(1).max(1024).describe('One CamelCase word for machines.'),
    message: z.string().max(32768).describe('A sentence for people.'),
  })
  .describe('One observed aspect of the object (metav1.Condition).')
export type Condition = z.infer<typeof Condition>

export const Conditions = mapList(z.array(Condition).max(32), 'type')
  .optional()
  .describe('What holds now, and why. Ready says whether all is well; Reconciling and Stalled say whether that may still change by itself.')
