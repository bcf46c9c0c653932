import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'

/**
 * A small certificate authority for tests: X.509 version 3 (RFC 5280) with P-256 keys, written as DER by hand, so that a certificate that is
 * expired, self-signed or for another name costs a millisecond and no program. Its keys are for tests only and are trusted by nobody else.
 */
export type KeyPair = { readonly certificate: string; readonly key: string }
export type Authority = KeyPair & { readonly name: string }

export type CertificateRequest = {
  /** The first is the common name; all of them, host names or addresses, go into subjectAltName. */
  readonly names: readonly [string, ...string[]]
  readonly notBefore: Date
  readonly notAfter: Date
}

const DAY = 24 * 3600 * 1000
const OID = {
  ecdsaSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  subjectAltName: '2.5.29.17',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
} as const

/** A root of trust, valid from the day before `now` for ten years. Both members are PEM. */
export function createAuthority(name: string, now: Date): Authority {
  const keys = newKeys()
  const certificate = buildCertificate({
    issuer: { name, key: keys.privatePem, spki: keys.spki },
    subject: { names: [name], spki: keys.spki },
    notBefore: new Date(now.getTime() - DAY),
    notAfter: new Date(now.getTime() + 3650 * DAY),
    purpose: 'authority',
  })
  return { name, certificate, key: keys.privatePem }
}

/** A server certificate signed by `authority`. Both members are PEM. */
export function issueCertificate(authority: Authority, request: CertificateRequest): KeyPair {
  const keys = newKeys()
  const spki = new X509Certificate(authority.certificate).publicKey.export({ type: 'spki', format: 'der' })
  const certificate = buildCertificate({
    issuer: { name: authority.name, key: authority.key, spki },
    subject: { names: request.names, spki: keys.spki },
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    purpose: 'server',
  })
  return { certificate, key: keys.privatePem }
}

/** A certificate that nobody but itself vouches for. Both members are PEM. */
export function selfSignCertificate(request: CertificateRequest): KeyPair {
  const keys = newKeys()
  const certificate = buildCertificate({
    issuer: { name: request.names[0], key: keys.privatePem, spki: keys.spki },
    subject: { names: request.names, spki: keys.spki },
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    purpose: 'server',
  })
  return { certificate, key: keys.privatePem }
}

/** From a day before `now` to a year after it. */
export const aYearFrom = (now: Date): Pick<CertificateRequest, 'notBefore' | 'notAfter'> => ({
  notBefore: new Date(now.getTime() - DAY),
  notAfter: new Date(now.getTime() + 365 * DAY),
})

/** Over since yesterday. */
export const expiredBefore = (now: Date): Pick<CertificateRequest, 'notBefore' | 'notAfter'> => ({
  notBefore: new Date(now.getTime() - 30 * DAY),
  notAfter: new Date(now.getTime() - DAY),
})

type Plan = {
  readonly issuer: { readonly name: string; readonly key: string; readonly spki: Buffer }
  readonly subject: { readonly names: readonly [string, ...string[]]; readonly spki: Buffer }
  readonly notBefore: Date
  readonly notAfter: Date
  readonly purpose: 'authority' | 'server'
}

function buildCertificate(plan: Plan): string {
  const algorithm = sequence(oid(OID.ecdsaSha256))
  const toBeSigned = sequence(
    tagged(0xa0, integer(Buffer.from([2]))), // version 3
    integer(serialNumber()),
    algorithm,
    distinguishedName(plan.issuer.name),
    sequence(generalizedTime(plan.notBefore), generalizedTime(plan.notAfter)),
    distinguishedName(plan.subject.names[0]),
    plan.subject.spki,
    tagged(0xa3, sequence(...extensions(plan))),
  )
  const signature = sign('sha256', toBeSigned, createPrivateKey(plan.issuer.key))
  const der = sequence(toBeSigned, algorithm, bitString(signature))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function extensions(plan: Plan): Buffer[] {
  const common = [
    extension(OID.subjectKeyIdentifier, 'plain', tagged(0x04, keyIdentifier(plan.subject.spki))),
    extension(OID.authorityKeyIdentifier, 'plain', sequence(tagged(0x80, keyIdentifier(plan.issuer.spki)))),
  ]
  if (plan.purpose === 'authority') {
    // keyCertSign and cRLSign.
    return [extension(OID.basicConstraints, 'critical', sequence(TRUE)), extension(OID.keyUsage, 'critical', bits(1, 0x06)), ...common]
  }
  return [
    extension(OID.basicConstraints, 'critical', sequence()),
    extension(OID.keyUsage, 'critical', bits(7, 0x80)), // digitalSignature
    extension(OID.extendedKeyUsage, 'plain', sequence(oid(OID.serverAuth))),
    extension(OID.subjectAltName, 'plain', sequence(...plan.subject.names.map(generalName))),
    ...common,
  ]
}

function newKeys(): { readonly privatePem: string; readonly spki: Buffer } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    spki: publicKey.export({ type: 'spki', format: 'der' }),
  }
}

const keyIdentifier = (spki: Buffer): Buffer => createHash('sha1').update(spki).digest()

/** Positive and never starting with a zero byte, as DER wants it. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes
}

const TRUE = Buffer.from([0x01, 0x01, 0xff])

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length = Buffer.from(content.length.toString(16).padStart(content.length > 0xff ? 4 : 2, '0'), 'hex')
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content])
}

const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, ...parts)
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes)
const bitString = (bytes: Buffer): Buffer => tagged(0x03, Buffer.from([0]), bytes)
const bits = (unused: number, byte: number): Buffer => tagged(0x03, Buffer.from([unused, byte]))

function oid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number) as [number, number, ...number[]]
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

function base128(value: number): number[] {
  const digits = [value & 0x7f]
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) digits.unshift((rest & 0x7f) | 0x80)
  return digits
}

/** RFC 5280 wants UTCTime before 2050; every verifier we meet takes GeneralizedTime as well, but OpenSSL's strict mode does not. */
function generalizedTime(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)
  return date.getUTCFullYear() < 2050 ? tagged(0x17, Buffer.from(`${digits.slice(2)}Z`)) : tagged(0x18, Buffer.from(`${digits}Z`))
}

function distinguishedName(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(oid(OID.commonName), tagged(0x0c, Buffer.from(commonName)))))
}

function extension(id: string, weight: 'critical' | 'plain', value: Buffer): Buffer {
  return sequence(oid(id), ...(weight === 'critical' ? [TRUE] : []), tagged(0x04, value))
}

function generalName(name: string): Buffer {
  const family = isIP(name)
  if (family === 0) return tagged(0x82, Buffer.from(name))
  return tagged(0x87, family === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name))
}

function ipv6Bytes(text: string): Buffer {
  const [head = '', tail] = text.split('::')
  const words = (part: string): number[] => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)))
  const front = words(head)
  const back = tail === undefined ? [] : words(tail)
  const all = [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]))
}
