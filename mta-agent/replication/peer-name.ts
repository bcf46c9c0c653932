/**
 * What an instance's certificate calls it: INSTANCE.STREAM.NAMESPACE.mtafleet, one DNS name among its subject alternative names. The authority is the
 * stream's own; the name is looked at all the same, because one instance must not pass for another, and an authority may be shared by mistake.
 */
export type PeerScope = { readonly stream: string; readonly namespace: string }

export const formatPeerName = (scope: PeerScope, instance: string): string => `${instance}${suffixOf(scope)}`

const suffixOf = ({ stream, namespace }: PeerScope): string => `.${stream}.${namespace}.mtafleet`

export type PeerNaming =
  | { readonly kind: 'named'; readonly instance: string }
  /** Names of another stream, or none, or more than one: nobody we could name. */
  | { readonly kind: 'stranger'; readonly names: readonly string[] }

/** `altNames`: as node:crypto prints them, `DNS:one, DNS:two`. A name with a comma or a quote is printed in quotes, and so is never one of ours. */
export function parsePeerNames(scope: PeerScope, altNames: string | undefined): PeerNaming {
  const names = (altNames ?? '').split(', ').filter((name) => name !== '')
  const suffix = suffixOf(scope)
  const instances = names.flatMap((name) => (name.startsWith('DNS:') && name.endsWith(suffix) ? [name.slice(4, -suffix.length)] : []))
  const [instance, ...others] = instances
  return instance && others.length === 0 ? { kind: 'named', instance } : { kind: 'stranger', names }
}
