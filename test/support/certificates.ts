import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from './command.ts'

/** A certificate authority and server certificates for the length of one run, made by openssl; nothing of it is kept. */

export type Certificate = { readonly certificate: string; readonly key: string; readonly fingerprint: string }
export type Authority = AsyncDisposable & {
  /** Path of the authority's certificate, for clients. */
  readonly file: string
  issue(dnsNames: readonly string[]): Promise<Certificate>
}

export async function openAuthority(): Promise<Authority> {
  const directory = await mkdtemp(join(tmpdir(), 'mtafleet-ca-'))
  const at = (name: string) => join(directory, name)
  const openssl = (...args: string[]) => runCommand(['openssl', ...args])
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await openssl('req', '-x509', ...newKey, '-keyout', at('ca.key'), '-out', at('ca.crt'), '-days', '30', '-subj', '/CN=scenario-ca')
  let serial = 0
  return {
    file: at('ca.crt'),
    async issue(dnsNames) {
      const name = `server-${++serial}`
      await openssl('req', ...newKey, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), '-subj', `/CN=${dnsNames[0]}`)
      await writeFile(at(`${name}.ext`), `subjectAltName=${dnsNames.map((dns) => `DNS:${dns}`).join(',')}\n`)
      const ca = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-set_serial', String(Date.now() * 100 + serial), '-days', '30']
      await openssl('x509', '-req', '-in', at(`${name}.csr`), ...ca, '-extfile', at(`${name}.ext`), '-out', at(`${name}.crt`))
      const print = await openssl('x509', '-in', at(`${name}.crt`), '-noout', '-fingerprint', '-sha256')
      return {
        certificate: await readFile(at(`${name}.crt`), 'utf8'),
        key: await readFile(at(`${name}.key`), 'utf8'),
        fingerprint: print.trim().split('=')[1] ?? '',
      }
    },
    async [Symbol.asyncDispose]() {
      await rm(directory, { recursive: true, force: true })
    },
  }
}
