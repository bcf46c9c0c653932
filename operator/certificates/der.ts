/** The little of DER (X.690) that a certificate is made of. Writing only. */

const tagged = (tag: number, content: Buffer): Buffer => Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content])

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length])
  const digits = Buffer.from(hexOf(length), 'hex')
  return Buffer.concat([Buffer.from([0x80 | digits.length]), digits])
}

function hexOf(value: number): string {
  const hex = value.toString(16)
  return hex.length % 2 === 0 ? hex : `0${hex}`
}

export const sequence = (...members: readonly Buffer[]): Buffer => tagged(0x30, Buffer.concat(members))
export const set = (...members: readonly Buffer[]): Buffer => tagged(0x31, Buffer.concat(members))
export const boolean = (value: boolean): Buffer => tagged(0x01, Buffer.from([value ? 0xff : 0]))
export const octets = (content: Buffer): Buffer => tagged(0x04, content)
export const text = (value: string): Buffer => tagged(0x0c, Buffer.from(value, 'utf8'))

/** Bits in whole octets, but for `unused` of the last one. */
export const bits = (content: Buffer, unused = 0): Buffer => tagged(0x03, Buffer.concat([Buffer.from([unused]), content]))

/** Not negative: a leading one would be a sign. */
export function integer(magnitude: Buffer): Buffer {
  const first = magnitude.findIndex((octet) => octet !== 0)
  const shortest = first === -1 ? Buffer.from([0]) : magnitude.subarray(first)
  return tagged(0x02, (shortest[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), shortest]) : shortest)
}

/** `2.5.4.3`. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

function base128(value: number): number[] {
  const digits = [value & 0x7f]
  for (let left = value >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80)
  return digits
}

/** `[number]` around what is inside (EXPLICIT). */
export const explicit = (number: number, content: Buffer): Buffer => tagged(0xa0 | number, content)
/** `[number]` in place of a primitive tag (IMPLICIT). */
export const implicit = (number: number, content: Buffer): Buffer => tagged(0x80 | number, content)

/** Whole seconds, in UTC. RFC 5280 section 4.1.2.5: two digits of the year through 2049. */
export function time(millis: number): Buffer {
  const iso = new Date(millis).toISOString()
  const digits = `${iso.slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
  return iso < '2050' ? tagged(0x17, Buffer.from(digits.slice(2))) : tagged(0x18, Buffer.from(digits))
}
