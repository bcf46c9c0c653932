import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, copyFile, cp, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseOptions } from '#test/support/command-line.ts'
import { CommandFailed, runCommand } from '#test/support/command.ts'

/**
 * Builds the one image (operator, agent, address holder) from the Dockerfile, with buildah here and with Docker where people have it. The result is
 * kept as an archive in the user's cache folder under the hash of all that goes in, so an unchanged tree builds nothing.
 */

export type Image = { readonly ref: string; readonly tar: string }
export type ImageOptions = {
  readonly say: (text: string) => void
  readonly tag?: string
  readonly content?: ImageContent
  /** What is otherwise in this image than in the tree: for an agent that is wrong on purpose. */
  readonly edits?: readonly SourceEdit[]
}
/** `from` must be in `file`, seen from the top of the tree, exactly once. */
export type SourceEdit = { readonly file: string; readonly from: string; readonly to: string }
/** `product`: operator and agent. `test`: mail client and receiving provider, for clusters that are not on this machine. */
export type ImageContent = keyof typeof CONTENTS

const TOP = dirname(dirname(fileURLToPath(import.meta.url)))
const CONTENTS = {
  product: { name: 'mtafleet', sources: ['crds', 'kube', 'operator', 'mta-agent'] },
  test: { name: 'mtafleet-test', sources: ['test/internet'] },
} as const
const REGISTRY = 'localhost'
const BASE = 'localhost/mtafleet-base'
/** A new number makes a new base; its packages are Debian's of the day. */
const BASE_VERSION = 3
/** Beside Debian's essential ones. The last three are the address holder's, 6.5 MB of the whole 243. As in the Dockerfile. */
const PACKAGES = ['ca-certificates', 'netbase', 'tzdata', 'libstdc++6', 'iproute2', 'iputils-arping', 'libndp-tools']
const OLDER_KEPT = 3
const BUILDAH = ['buildah', '--storage-driver', 'vfs'] as const

const cache = (...path: readonly string[]) =>
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'mtafleet', 'images', ...path)

/** The archive of the image of this tree; built when there is none. Throws CommandFailed with the tool's own words. */
export async function ensureImage(options: ImageOptions): Promise<Image> {
  const { content = 'product', tag = 'dev', edits = [] } = options
  const { name } = CONTENTS[content]
  const ref = await imageRef({ content, tag, edits })
  const tar = cache(`${name}-${ref.slice(ref.lastIndexOf(':') + 1)}.tar`)
  if (existsSync(tar)) return { ref, tar }
  await mkdir(cache(), { recursive: true })
  await ensureBase(options.say)
  options.say(`building ${ref} …`)
  const context = cache(`context-${process.pid}`)
  try {
    await assembleContext(context, content, edits)
    await runCommand(
      [
        ...BUILDAH,
        'bud',
        '--isolation',
        'chroot',
        '--layers=false',
        '--build-arg',
        `BASE=${BASE}:${BASE_VERSION}`,
        '-t',
        ref,
        '-f',
        join(TOP, 'Dockerfile'),
        context,
      ],
      {
        timeoutMillis: 300_000,
      },
    )
    await pushArchive(ref, tar)
  } finally {
    await rm(context, { recursive: true, force: true })
  }
  await dropOlder(`${name}-${tag}-`, tar)
  return { ref, tar }
}

/** What the image of this tree is called, whether it is built or not. */
export async function imageRef({ content = 'product', tag = 'dev', edits = [] }: Omit<ImageOptions, 'say'>): Promise<string> {
  return `${REGISTRY}/${CONTENTS[content].name}:${tag}-${await contentHash(content, edits)}`
}

/** Writes a build context (bin/, app/) for whoever builds with another tool. */
export async function assembleContext(context: string, content: ImageContent, edits: readonly SourceEdit[] = []): Promise<void> {
  await rm(context, { recursive: true, force: true })
  await mkdir(join(context, 'bin'), { recursive: true })
  await mkdir(join(context, 'app'), { recursive: true })
  for (const file of await sourceFiles(content)) {
    await mkdir(dirname(join(context, 'app', file)), { recursive: true })
    await copyFile(join(TOP, file), join(context, 'app', file))
  }
  for (const edit of edits) await applyEdit(join(context, 'app'), edit)
  await cp(await productionModules(), join(context, 'app', 'node_modules'), { recursive: true, verbatimSymlinks: true })
  await copyFile(join(TOP, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node'), join(context, 'bin', 'node'))
  await copyFile(join(TOP, 'image', 'mtafleet'), join(context, 'bin', 'mtafleet'))
  for (const name of ['node', 'mtafleet']) await chmod(join(context, 'bin', name), 0o755)
  if (content === 'product') await compileAhead(context)
}

async function applyEdit(app: string, { file, from, to }: SourceEdit): Promise<void> {
  const parts = (await readFile(join(app, file), 'utf8')).split(from)
  if (parts.length !== 2) throw new Error(`${file} must have "${from}" exactly once, has it ${parts.length - 1} times`)
  await writeFile(join(app, file), parts.join(to))
}

/** As in the Dockerfile. */
const USER = 65532
const COMPILED = '.compile-cache'
const PROGRAMS = ['operator/main.ts', 'mta-agent/main.ts', 'mta-agent/address-holder/main.ts', 'mta-agent/queue/inspect.ts']
/** What a program loads later, by `import()`. */
const LOADED_LATER = ['mta-agent/instance-client.ts', 'mta-agent/shard.ts', 'kube/config.ts']
/** What runs as a thread and ends at once where it is not one. */
const THREADS = ['mta-agent/replication/coordinator/worker.ts']

/**
 * Keeps what Node makes of the sources (types stripped, compiled), so that no process in the image has to load the stripper: it takes 20 MB
 * of memory in each. Where Node finds that it does not fit any more, it reads the sources as ever.
 */
async function compileAhead(context: string): Promise<void> {
  const app = join(context, 'app')
  const node = join(context, 'bin', 'node')
  const options = { cwd: app, env: { NODE_COMPILE_CACHE: join(app, COMPILED), NODE_COMPILE_CACHE_PORTABLE: '1' }, timeoutMillis: 60_000 }
  const imports = [
    ...LOADED_LATER.map((file) => `await import('./${file}')`),
    ...THREADS.map(
      (file) => `await import('./${file}').then(() => { throw new Error('${file} must end outside a thread, did not') }, () => {})`,
    ),
  ]
  await runCommand([node, '--input-type=module', '--eval', imports.join('\n')], options)
  for (const program of PROGRAMS) {
    // Told nothing, a program ends with its usage as soon as all of it is loaded.
    await runCommand([node, program], options).catch((error: unknown) => {
      if (!(error instanceof CommandFailed)) throw error
    })
  }
  for (const entry of await readdir(join(app, COMPILED), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await chmod(join(entry.parentPath, entry.name), 0o644)
  }
  // Node reads only what is of the user it runs as, by the folder's name; the address holder is root.
  for (const folder of await readdir(join(app, COMPILED))) {
    const kept = folder.replace(/-[0-9]+$/, `-${USER}`)
    await chmod(join(app, COMPILED, folder), 0o755)
    await rename(join(app, COMPILED, folder), join(app, COMPILED, kept))
    await symlink(kept, join(app, COMPILED, folder.replace(/-[0-9]+$/, '-0')))
  }
}

/** What the lock file says production needs, without the Node binary, which has a place of its own. Kept by the hash of the lock file. */
async function productionModules(): Promise<string> {
  const lock = await readFile(join(TOP, 'package-lock.json'))
  const kept = cache(`modules-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  if (existsSync(kept)) return join(kept, 'node_modules')
  const fresh = `${kept}-${process.pid}`
  try {
    await mkdir(fresh, { recursive: true })
    for (const file of ['package.json', 'package-lock.json', '.npmrc']) await copyFile(join(TOP, file), join(fresh, file))
    await runCommand(['npm', 'ci', '--omit=dev', '--ignore-scripts', '--no-fund', '--no-audit'], { timeoutMillis: 300_000, cwd: fresh })
    await rm(join(fresh, 'node_modules', `node-linux-${process.arch}`), { recursive: true, force: true })
    await rm(join(fresh, 'node_modules', '.bin'), { recursive: true, force: true })
    await rename(fresh, kept)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return join(kept, 'node_modules')
}

/** Debian's essential packages, certificates, what reaches the network's addresses, and nothing that is not read: made here, for no registry is needed to test. */
async function ensureBase(say: (text: string) => void): Promise<void> {
  const known = await runCommand([...BUILDAH, 'images', '--quiet', '--filter', `reference=${BASE}:${BASE_VERSION}`])
  if (known.trim() !== '') return
  const root = cache(`base-${BASE_VERSION}.tar`)
  if (!existsSync(root)) {
    say('making the base image from Debian packages …')
    await runCommand(
      [
        ...['mmdebstrap', '--format=tar', '--variant=essential', `--include=${PACKAGES.join(',')}`],
        // Without usrmerge, which would bring the whole of Perl with it: the tree is made merged from the start.
        '--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr',
        String.raw`--setup-hook=printf 'Package: usrmerge\nPin: release *\nPin-Priority: -1\n' > "$1"/etc/apt/preferences.d/no-usrmerge`,
        ...['man', 'locale', 'doc', 'info'].flatMap((name) => [`--dpkgopt=path-exclude=/usr/share/${name}/*`]),
        '--dpkgopt=path-include=/usr/share/doc/*/copyright',
        '--customize-hook=rm -rf "$1"/etc/apt/preferences.d/* "$1"/etc/apt/sources.list "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*',
        ...['bookworm', `${root}.${process.pid}`],
      ],
      { timeoutMillis: 300_000 },
    )
    await rename(`${root}.${process.pid}`, root)
  }
  const container = (await runCommand([...BUILDAH, 'from', 'scratch'])).trim()
  try {
    await runCommand([...BUILDAH, 'add', '--quiet', container, root, '/'], { timeoutMillis: 300_000 })
    await runCommand([...BUILDAH, 'commit', '--quiet', container, `${BASE}:${BASE_VERSION}`], { timeoutMillis: 300_000 })
  } finally {
    await runCommand([...BUILDAH, 'rm', container])
  }
}

async function pushArchive(ref: string, tar: string): Promise<void> {
  const fresh = `${tar}.${process.pid}`
  await rm(fresh, { force: true })
  await runCommand([...BUILDAH, 'push', '--quiet', ref, `docker-archive:${fresh}:${ref}`], { timeoutMillis: 300_000 })
  await rename(fresh, tar)
  // The archive is what is used from here on; the store would only grow.
  await runCommand([...BUILDAH, 'rmi', ref])
}

/** Some are left: another work tree, or a scenario that goes back to what ran before, may be using one of them. */
async function dropOlder(prefix: string, keep: string): Promise<void> {
  const names = (await readdir(cache())).filter((name) => name.startsWith(prefix) && name.endsWith('.tar') && cache(name) !== keep)
  const aged = await Promise.all(names.map(async (name) => ({ name, at: (await stat(cache(name))).mtimeMs })))
  for (const { name } of aged.toSorted((a, b) => b.at - a.at).slice(OLDER_KEPT)) await rm(cache(name), { force: true })
}

async function contentHash(content: ImageContent, edits: readonly SourceEdit[]): Promise<string> {
  const hash = createHash('sha256').update(String(BASE_VERSION))
  if (edits.length > 0) hash.update(JSON.stringify(edits))
  for (const file of [...(await sourceFiles(content)), 'Dockerfile', 'image/mtafleet', 'package-lock.json']) {
    hash.update(`${file}\0`).update(await readFile(join(TOP, file)))
  }
  return hash.digest('hex').slice(0, 16)
}

/** Sources that run, sorted: no tests, no YAML. */
async function sourceFiles(content: ImageContent): Promise<string[]> {
  const found: string[] = ['package.json']
  for (const folder of CONTENTS[content].sources) {
    for (const entry of await readdir(join(TOP, folder), { recursive: true, withFileTypes: true })) {
      const file = relative(TOP, join(entry.parentPath, entry.name))
      if (entry.isFile() && file.endsWith('.ts') && !file.endsWith('.test.ts')) found.push(file)
    }
  }
  return found.toSorted()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseOptions({
    options: {
      tag: { type: 'string' },
      builder: { type: 'string', default: 'buildah' },
      content: { type: 'string', default: 'product' },
      ref: { type: 'string' },
    },
  })
  const { builder, content, tag } = values
  if (content !== 'product' && content !== 'test') {
    console.error(`--content must be product or test, was ${content}`)
    process.exitCode = 2
  } else if (builder === 'buildah') {
    const image = await ensureImage({ say: console.log, content, ...(tag === undefined ? {} : { tag }) })
    console.log(`${image.ref}\n${image.tar}`)
  } else if (builder === 'docker' || builder === 'podman') {
    const context = join(TOP, 'dist', 'image')
    await assembleContext(context, content)
    const ref = values.ref ?? `${REGISTRY}/${CONTENTS[content].name}:dev`
    console.log(await runCommand([builder, 'build', '-t', ref, '-f', join(TOP, 'Dockerfile'), context], { timeoutMillis: 600_000 }))
  } else {
    console.error(`--builder must be buildah, docker or podman, was ${builder}`)
    process.exitCode = 2
  }
}
