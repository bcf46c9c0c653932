import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import * as der from './der.ts'

/**
 * X.509 certificates (RFC 5280) for the links between the instances of a shard: an authority for each stream, and what it signs. ECDSA over P-256.
 * Written here, for Node reads certificates but makes none, and what would be needed of a library is this one page.
 */

/** A certificate with its key, both as PEM. */
export type Issued = { readonly certificate: string; readonly key: string }

export type Validity = { readonly notBefore: number; readonly notAfter: number }

/** Signs itself. `name` is for people. */
export function issueAuthority(name: string, validity: Validity): Issued {
  const { publicKey, privateKey } = newKey()
  const own = keyIdOf(publicKey)
  const certificate = signed(privateKey, {
    issuer: name,
    subject: name,
    validity,
    publicKey,
    extensions: [
      extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(true), der.integer(Buffer.from([0]))), 'critical'),
      // keyCertSign and cRLSign.
      extension(KEY_USAGE, der.bits(Buffer.from([0b0000_0110]), 1), 'critical'),
      extension(SUBJECT_KEY_ID, der.octets(own)),
    ],
  })
  return { certificate, key: pemOfKey(privateKey) }
}

export type Authority = { readonly name: string; readonly publicKey: KeyObject; readonly privateKey: KeyObject }

/** For both ends of a link: every instance listens and connects. */
export function issueCertificate(authority: Authority, dnsName: string, validity: Validity): Issued {
  const { publicKey, privateKey } = newKey()
  const certificate = signed(authority.privateKey, {
    issuer: authority.name,
    // The name that counts is the alternative one; a common name must not be longer than 64.
    subject: 'mtafleet instance',
    validity,
    publicKey,
    extensions: [
      extension(BASIC_CONSTRAINTS, der.sequence(), 'critical'),
      // digitalSignature.
      extension(KEY_USAGE, der.bits(Buffer.from([0b1000_0000]), 7), 'critical'),
      extension(EXTENDED_KEY_USAGE, der.sequence(der.oid(SERVER_AUTH), der.oid(CLIENT_AUTH))),
      extension(SUBJECT_ALTERNATIVE_NAME, der.sequence(der.implicit(2, Buffer.from(dnsName, 'latin1')))),
      extension(SUBJECT_KEY_ID, der.octets(keyIdOf(publicKey))),
      extension(AUTHORITY_KEY_ID, der.sequence(der.implicit(0, keyIdOf(authority.publicKey)))),
    ],
  })
  return { certificate, key: pemOfKey(privateKey) }
}

const BASIC_CONSTRAINTS = '2.5.29.19'
const KEY_USAGE = '2.5.29.15'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17'
const SUBJECT_KEY_ID = '2.5.29.14'
const AUTHORITY_KEY_ID = '2.5.29.35'
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const COMMON_NAME = '2.5.4.3'
const ECDSA_WITH_SHA256 = der.sequence(der.oid('1.2.840.10045.4.3.2'))
const VERSION_3 = der.explicit(0, der.integer(Buffer.from([2])))

type ToBeSigned = {
  readonly issuer: string
  readonly subject: string
  readonly validity: Validity
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
}

function signed(key: KeyObject, { issuer, subject, validity, publicKey, extensions }: ToBeSigned): string {
  const content = der.sequence(
    VERSION_3,
    // Positive, not zero, and never twice.
    der.integer(Buffer.concat([Buffer.from([1]), randomBytes(16)])),
    ECDSA_WITH_SHA256,
    nameOf(issuer),
    der.sequence(der.time(validity.notBefore), der.time(validity.notAfter)),
    nameOf(subject),
    spkiOf(publicKey),
    der.explicit(3, der.sequence(...extensions)),
  )
  const certificate = der.sequence(content, ECDSA_WITH_SHA256, der.bits(sign('sha256', content, key)))
  return pem('CERTIFICATE', certificate)
}

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })

const nameOf = (commonName: string): Buffer => der.sequence(der.set(der.sequence(der.oid(COMMON_NAME), der.text(commonName))))

const extension = (id: string, content: Buffer, critical?: 'critical'): Buffer =>
  der.sequence(der.oid(id), ...(critical === undefined ? [] : [der.boolean(true)]), der.octets(content))

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })

/** Any value that tells keys apart will do (RFC 5280 section 4.2.1.2). */
const keyIdOf = (key: KeyObject): Buffer => createHash('sha256').update(spkiOf(key)).digest().subarray(0, 20)

const pemOfKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

const pem = (label: string, content: Buffer): string => {
  const lines = content.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
