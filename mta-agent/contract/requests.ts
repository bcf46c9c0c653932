/**
 * What an agent is asked for by annotations of its MTAInstance. Whoever reads one that stands there twice must come to the same result, and one that
 * is out of date must be nothing: so each names what it is about.
 */

/** R9: the admin's word that the old primary is down, about this version of the record. */
export type Promotion = { readonly recordVersion: string; readonly incompleteToo: boolean }

const INCOMPLETE = 'incomplete'

/** `4711`, or `4711 incomplete` for a copy that is not complete. Undefined when it says anything else. */
export function parsePromotion(text: string): Promotion | undefined {
  const [recordVersion = '', word, ...rest] = text.trim().split(/\s+/)
  if (!/^[0-9]+$/.test(recordVersion) || (word !== undefined && word !== INCOMPLETE) || rest.length > 0) return undefined
  return { recordVersion, incompleteToo: word === INCOMPLETE }
}

export const formatPromotion = ({ recordVersion, incompleteToo }: Promotion): string =>
  incompleteToo ? `${recordVersion} ${INCOMPLETE}` : recordVersion

/** The epoch that shall end with a switchover; undefined when it says anything else. The primary of another epoch has nothing to do. */
export function parseSwitchover(text: string): number | undefined {
  const epoch = Number(text.trim())
  return Number.isSafeInteger(epoch) && epoch >= 1 ? epoch : undefined
}
