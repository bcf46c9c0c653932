import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Authority, openAuthority } from './certificates.ts'

/** Directories as the operator mounts them for the instances of a shard: tls.crt, tls.key, ca.crt. */
export type PeerCertificates = AsyncDisposable & {
  /** A directory for one with this name, by this authority; another authority's certificate may be trusted instead. */
  directoryFor(name: string, trust?: PeerCertificates): Promise<string>
  /** A new pair in the same directory, each file replaced in one step. */
  renew(directory: string, name: string): Promise<void>
  readonly authority: Authority
}

export async function openPeerCertificates(): Promise<PeerCertificates> {
  const authority = await openAuthority()
  const folder = await mkdtemp(join(tmpdir(), 'mtafleet-peers-'))
  const put = async (directory: string, name: string, content: string): Promise<void> => {
    await writeFile(join(directory, `${name}.next`), content)
    await rename(join(directory, `${name}.next`), join(directory, name))
  }
  const renew = async (directory: string, name: string): Promise<void> => {
    const pair = await authority.issue([name])
    await put(directory, 'tls.key', pair.key)
    await put(directory, 'tls.crt', pair.certificate)
  }
  return {
    authority,
    renew,
    directoryFor: async (name, trust) => {
      const directory = await mkdtemp(join(folder, 'instance-'))
      await put(directory, 'ca.crt', await readFile((trust?.authority ?? authority).file, 'utf8'))
      await renew(directory, name)
      return directory
    },
    [Symbol.asyncDispose]: async () => {
      await authority[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
