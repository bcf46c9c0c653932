import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'

/** The pair of a Secret of type kubernetes.io/tls: tls.crt and tls.key. */
export type Certificate = { readonly cert: Buffer; readonly key: Buffer; readonly expiresAt: number; readonly subject: string }
export type CertificateReading = { readonly kind: 'pair'; readonly pair: Certificate } | { readonly kind: 'fault'; readonly fault: string }

/** Never throws: a broken pair is a finding, and the one in use stays. */
export async function readCertificate(directory: string): Promise<CertificateReading> {
  try {
    const [cert, key] = await Promise.all([readFile(join(directory, 'tls.crt')), readFile(join(directory, 'tls.key'))])
    // Throws when one of them is no PEM, or when they do not belong together.
    createSecureContext({ cert, key })
    const leaf = new X509Certificate(cert)
    return { kind: 'pair', pair: { cert, key, expiresAt: Date.parse(leaf.validTo), subject: leaf.subject.replaceAll('\n', ', ') } }
  } catch (error) {
    return {
      kind: 'fault',
      fault: `tls.crt and tls.key must be a matching pair in PEM: ${error instanceof Error ? error.message : String(error)}`,
    }
  }
}
