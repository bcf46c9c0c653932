/**
 * Images into a node's containerd. What a node was given is written down beside its image store, so that giving it the same archive again costs nothing;
 * both are lost together when the node's disk is. (Kubelets here never remove images: see the thresholds in node-config.ts.)
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { importImage } from './nodes.ts'
import type { NodePlan } from './plan.ts'
import { runCommand } from '#test/support/command.ts'
import { nodeFolder } from './state.ts'

/** Tag → SHA-256 of the archive that last brought it. */
type Loaded = Readonly<Record<string, string>>

export type Archive = { readonly tar: string; readonly digest: string; readonly tags: readonly string[] }

/** Throws when `tar` is not an archive as `docker save` writes it, with at least one tag. */
export async function readArchive(tar: string, signal?: AbortSignal): Promise<Archive> {
  if (!existsSync(tar)) throw new Error(`the image must be a tar archive; there is no file ${tar}`)
  const manifest = await runCommand(['tar', '--extract', '--to-stdout', `--file=${tar}`, 'manifest.json'], { signal }).catch(
    (error: unknown) => {
      throw new Error(`${tar} must be an archive as docker save or buildah push docker-archive: writes it; it has no manifest.json`, {
        cause: error,
      })
    },
  )
  const tags = (JSON.parse(manifest) as { RepoTags?: string[] | null }[]).flatMap(({ RepoTags }) => RepoTags ?? [])
  if (tags.length === 0) throw new Error(`${tar} must hold an image with a tag; it has none`)
  const hash = createHash('sha256')
  await pipeline(createReadStream(tar), hash, { signal })
  return { tar, digest: hash.digest('hex'), tags }
}

export async function giveImage(node: NodePlan, { tar, digest, tags }: Archive, signal?: AbortSignal): Promise<'given' | 'had'> {
  const file = join(nodeFolder(node), 'var-lib/mtafleet-images.json')
  const loaded: Loaded = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Loaded) : {}
  if (tags.every((tag) => loaded[tag] === digest)) return 'had'
  await importImage(node, tar, signal)
  writeFileSync(`${file}.next`, JSON.stringify({ ...loaded, ...Object.fromEntries(tags.map((tag) => [tag, digest])) }))
  renameSync(`${file}.next`, file)
  return 'given'
}
