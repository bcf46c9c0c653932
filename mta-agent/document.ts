import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { InvalidDocument, parseMTAInstance, type UnknownFields } from '#crds/parse.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { ConfigFault } from './config.ts'

/** The document from a file, and the copy of the last one that is kept on the queue volume for a start without the API server. */

/** Throws ConfigFault, with one line for each fault. */
export async function readDocumentFile(path: string): Promise<MTAInstance> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new ConfigFault([`${path}: must be a readable file: ${error instanceof Error ? error.message : String(error)}`])
  }
  let document: unknown
  try {
    document = parseYaml(text)
  } catch (error) {
    throw new ConfigFault([`${path}: must be YAML: ${error instanceof Error ? error.message.split(/:?\n/, 1).join() : String(error)}`])
  }
  return parseDocument(document, 'refuse')
}

/** Throws ConfigFault. */
export function parseDocument(document: unknown, unknownFields: UnknownFields): MTAInstance {
  try {
    return parseMTAInstance(document, unknownFields)
  } catch (error) {
    if (error instanceof InvalidDocument) throw new ConfigFault(error.problems.map(({ path, must }) => `${path}: ${must}`))
    throw error
  }
}

const KEPT = 'instance.json'

/** Durable when it resolves, and never half of it: written beside the old one, synced, and put in its place. */
export async function keepDocument(directory: string, instance: MTAInstance): Promise<void> {
  const { status: _, ...kept } = instance
  const path = join(directory, KEPT)
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(kept))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
  await syncDirectory(directory)
}

/** For good: after a power cut too there is none. */
export async function forgetDocument(directory: string): Promise<void> {
  await rm(join(directory, KEPT), { force: true })
  await syncDirectory(directory)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

export type KeptDocument =
  | { readonly kind: 'usable'; readonly instance: MTAInstance }
  | { readonly kind: 'unusable'; readonly because: 'None' | 'OtherInstance' | 'Unreadable'; readonly message: string }

/** Only of the very same instance: a volume can come from an older one of that name, whose addresses others may have by now. */
export async function readKeptDocument(directory: string, uid: string): Promise<KeptDocument> {
  let instance: MTAInstance
  try {
    instance = parseDocument(JSON.parse(await readFile(join(directory, KEPT), 'utf8')), 'ignore')
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    return { kind: 'unusable', because: missing ? 'None' : 'Unreadable', message: error instanceof Error ? error.message : String(error) }
  }
  if (instance.metadata.uid === uid) return { kind: 'usable', instance }
  return { kind: 'unusable', because: 'OtherInstance', message: `must be of instance ${uid}, was of ${instance.metadata.uid ?? 'none'}` }
}
