import type { ObjectMeta } from '#crds/meta.ts'

/** What a plan asks of the world: writes, in order, and Events. Every change is idempotent, so a plan that was cut short is simply made again. */

/** A manifest that we own in full. */
export type Manifest = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta & { readonly namespace: string }
  readonly [field: string]: unknown
}

export type ObjectRef = {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export type Change =
  /** Server-side apply with the operator's field owner, taking fields over from others. */
  | { readonly kind: 'apply'; readonly object: Manifest }
  /** Fails when an object of that name exists: for what must not be changed under a running process. */
  | { readonly kind: 'create'; readonly object: Manifest }
  /** Only the object of this uid; done when it is gone already. Dependents in the background. */
  | { readonly kind: 'delete'; readonly ref: ObjectRef }
  /** The whole list, as long as the object still has this resourceVersion. Done when the object is gone already. */
  | { readonly kind: 'setFinalizers'; readonly ref: ObjectRef; readonly finalizers: readonly string[]; readonly resourceVersion: string }
  /**
   * A certificate for that name into `secret`, by the authority in `authority`, which is made when it is missing or soon ends. Both are Secrets without
   * their content: that is made where it is written, and no plan sees it.
   */
  | { readonly kind: 'issueCertificate'; readonly secret: Manifest; readonly authority: Manifest; readonly dnsName: string }

/** What became of a change. Refused: the API server understood it and said no (invalid, forbidden, quota); the same again would be refused again. */
export type Applied = { readonly kind: 'done' } | { readonly kind: 'refused'; readonly message: string }

/** An Event on an object. `reason` and `action` are CamelCase words, `note` is a sentence. */
export type EventNote = {
  readonly regarding: ObjectRef
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly action: string
  readonly note: string
}

export const setFinalizers = (ref: ObjectRef, object: { readonly metadata: ObjectMeta }, finalizers: readonly string[]): Change => ({
  kind: 'setFinalizers',
  ref,
  finalizers,
  resourceVersion: object.metadata.resourceVersion ?? '',
})

export const refTo = (apiVersion: string, kind: string, { metadata }: { readonly metadata: ObjectMeta }): ObjectRef => ({
  apiVersion,
  kind,
  namespace: metadata.namespace ?? '',
  name: metadata.name,
  uid: metadata.uid ?? '',
})
