/** The image that every Pod's sandbox runs: one static program and nothing else, packed here so that no registry is needed. */
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { binary } from './binaries.ts'
import { PAUSE_IMAGE } from './plan.ts'
import { runCommand } from '#test/support/command.ts'

/** Writes the image as a tar archive in the layout of `docker save`, which containerd imports. */
export async function writePauseImage(file: string, scratch: string): Promise<void> {
  const folder = mkdtempSync(join(scratch, 'pause-'))
  try {
    mkdirSync(join(folder, 'root'))
    copyFileSync(binary('pause'), join(folder, 'root/pause'))
    await pack(join(folder, 'layer.tar'), join(folder, 'root'), ['pause'])
    const layer = createHash('sha256')
      .update(readFileSync(join(folder, 'layer.tar')))
      .digest('hex')
    const config = {
      architecture: GO_ARCHITECTURE[process.arch] ?? process.arch,
      os: 'linux',
      config: { Entrypoint: ['/pause'], User: '65534:65534' },
    }
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] } }))
    writeFileSync(
      join(folder, 'manifest.json'),
      JSON.stringify([{ Config: 'config.json', RepoTags: [PAUSE_IMAGE], Layers: ['layer.tar'] }]),
    )
    await pack(join(folder, 'image.tar'), folder, ['manifest.json', 'config.json', 'layer.tar'])
    renameSync(join(folder, 'image.tar'), file)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const GO_ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

async function pack(archive: string, folder: string, members: readonly string[]): Promise<void> {
  await runCommand([
    'tar',
    '--create',
    `--file=${archive}`,
    `--directory=${folder}`,
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mtime=@0',
    ...members,
  ])
}
