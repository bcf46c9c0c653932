/**
 * A private certificate authority for one cluster, by openssl. Every certificate is for both server and client, valid for a year, with the names it is given and no others.
 * The configuration is written here in full, because a machine's own openssl.cnf adds extensions (Debian's would make every certificate an authority).
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '#test/support/command.ts'

export type KeyPair = { readonly certFile: string; readonly keyFile: string }
export type Subject = {
  /** Kubernetes reads it as the user's name. */
  readonly commonName: string
  /** Kubernetes reads them as the user's groups. */
  readonly organizations?: readonly string[]
  /** In openssl's words: `IP:127.0.0.1`, `DNS:localhost`. */
  readonly altNames?: readonly string[]
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365']

export async function createAuthority(folder: string): Promise<KeyPair> {
  mkdirSync(folder, { recursive: true })
  const pair = pairIn(folder, 'ca')
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign', 'subjectKeyIdentifier=hash']
  await request(pair, configuration({ commonName: 'mtafleet-local-ca' }, extensions), [])
  return pair
}

/** Issues a certificate as `<name>.crt` and `<name>.key` in `folder`. An older pair of that name is replaced, key first, each in one step: a reader sees an old or a new file, never half of one. */
export async function issueCertificate(authority: KeyPair, folder: string, name: string, subject: Subject): Promise<KeyPair> {
  const pair = pairIn(folder, name)
  const next = pairIn(folder, `${name}.next`)
  const altNames = subject.altNames ?? []
  const extensions = [
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature,keyEncipherment',
    'extendedKeyUsage=serverAuth,clientAuth',
    ...(altNames.length > 0 ? [`subjectAltName=${altNames.join(',')}`] : []),
  ]
  const by = ['-CA', authority.certFile, '-CAkey', authority.keyFile]
  await request(next, configuration(subject, extensions), by)
  renameSync(next.keyFile, pair.keyFile)
  renameSync(next.certFile, pair.certFile)
  return pair
}

/** The key that signs service account tokens; it needs no certificate. */
export function createTokenKey(folder: string): { readonly privateFile: string; readonly publicFile: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const files = { privateFile: join(folder, 'tokens.key'), publicFile: join(folder, 'tokens.pub') }
  writeFileSync(files.privateFile, privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 })
  writeFileSync(files.publicFile, publicKey.export({ type: 'spki', format: 'pem' }))
  return files
}

/** A kubeconfig that carries its certificates in itself, so that it works wherever it is copied. JSON is YAML. */
export function formatKubeconfig(server: string, authority: KeyPair, user: KeyPair): string {
  const inline = (file: string) => readFileSync(file).toString('base64')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'mtafleet', cluster: { server, 'certificate-authority-data': inline(authority.certFile) } }],
    users: [{ name: 'mtafleet', user: { 'client-certificate-data': inline(user.certFile), 'client-key-data': inline(user.keyFile) } }],
    contexts: [{ name: 'mtafleet', context: { cluster: 'mtafleet', user: 'mtafleet' } }],
    'current-context': 'mtafleet',
  }
  return `${JSON.stringify(config, undefined, 2)}\n`
}

async function request(pair: KeyPair, config: string, by: readonly string[]): Promise<void> {
  const configFile = `${pair.certFile}.cnf`
  writeFileSync(configFile, config)
  await runCommand(['openssl', 'req', '-x509', ...NEW_KEY, '-config', configFile, ...by, '-keyout', pair.keyFile, '-out', pair.certFile])
  rmSync(configFile)
}

function configuration(subject: Subject, extensions: readonly string[]): string {
  const organizations = (subject.organizations ?? []).map((name, index) => `${index}.O=${name}`)
  return [
    '[req]',
    'prompt=no',
    'distinguished_name=dn',
    'x509_extensions=ext',
    '[dn]',
    ...organizations,
    `CN=${subject.commonName}`,
    '[ext]',
    ...extensions,
    '',
  ].join('\n')
}

function pairIn(folder: string, name: string): KeyPair {
  return { certFile: join(folder, `${name}.crt`), keyFile: join(folder, `${name}.key`) }
}
