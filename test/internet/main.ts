import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BehaviourInput } from './behaviour.ts'
import { addressOf, addressV6Of, BLACKHOLE_HOST, HOSTS, PROVIDERS } from './catalogue.ts'
import { codeOfInternet } from './code.ts'
import { arrivals, behave, findInternet, internetStatus } from './client.ts'
import type { Status } from './control-protocol.ts'
import { endProcesses, findProcesses, startProcess } from './processes.ts'
import { BRIDGE, controlSocket, dnsFolder, internetFolder, logFolder, namespaceName, postfixFolder } from './state.ts'

/**
 * `npm run internet -- up|down|status|behave PROVIDER JSON|arrived [--json]`: the small internet beside the cluster, in the cluster's uplink-less
 * namespace. `up` twice is harmless, and one that other sources made is replaced; `down` also clears away what a crash has left, and leaves only the log and what arrived.
 */
const USAGE = 'npm run internet -- up | down | status | behave PROVIDER JSON | arrived [--json]'
const NEEDED_PROGRAMS = ['nsd', 'postfix', 'nsenter', 'ip']
/** What is sent there is dropped without a word. */
const BLACKHOLE = `blackhole ${addressOf(BLACKHOLE_HOST)}/32`
const PROGRAM_FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin']

export async function internetUp(): Promise<Status> {
  const found = await findInternet()
  if (found?.code === codeOfInternet()) return found
  checkMachine()
  await internetDown() // what a crash may have left, or one that other sources made
  mkdirSync(logFolder(), { recursive: true, mode: 0o755 })
  addAddresses()
  const daemon = [process.execPath, join(import.meta.dirname, 'daemon.ts')]
  startProcess('internet', ['nsenter', `--net=/run/netns/${namespaceName()}`, '--', ...daemon], 'detached')
  return await untilUp()
}

export async function internetDown(): Promise<void> {
  await endProcesses(10_000)
  if (existsSync(`/run/netns/${namespaceName()}`)) removeAddresses()
  for (const path of [controlSocket(), dnsFolder(), postfixFolder()]) rmSync(path, { recursive: true, force: true })
}

function checkMachine(): void {
  if (process.getuid?.() !== 0) throw new Error('the small internet needs root: it uses port 25 and 53 in a network namespace')
  if (!existsSync(`/run/netns/${namespaceName()}`)) {
    throw new Error(`there is no network namespace ${namespaceName()}: bring the cluster up first (npm run cluster -- up)`)
  }
  const missing = NEEDED_PROGRAMS.filter((program) => !PROGRAM_FOLDERS.some((folder) => isExecutable(join(folder, program))))
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(', ')}; scripts/install-packages installs the Debian packages`)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function addAddresses(): void {
  // /32 and /128: none is the primary of the others, and what is not there is unreachable at once instead of after an ARP timeout.
  ip('-4', [...HOSTS.map((host) => `addr replace ${addressOf(host)}/32 dev ${BRIDGE}`), `route replace ${BLACKHOLE}`])
  ip('-6', [...HOSTS.map((host) => `addr replace ${addressV6Of(host)}/128 dev ${BRIDGE} nodad`)])
}

/** Only those that are there; an address of the cluster is never one of ours. */
function removeAddresses(): void {
  const listed = execFileSync('ip', ['-n', namespaceName(), '-json', 'addr', 'show'], { encoding: 'utf8' })
  const links = JSON.parse(listed) as { ifname: string; addr_info: { local: string; prefixlen: number }[] }[]
  const present = links.find(({ ifname }) => ifname === BRIDGE)?.addr_info ?? []
  const ours = new Set(HOSTS.flatMap((host) => [addressOf(host), addressV6Of(host)]))
  const gone = present.filter(({ local }) => ours.has(local)).map(({ local, prefixlen }) => `addr del ${local}/${prefixlen} dev ${BRIDGE}`)
  ip(
    '-4',
    gone.filter((command) => !command.includes(':')),
  )
  ip(
    '-6',
    gone.filter((command) => command.includes(':')),
  )
  const routes = execFileSync('ip', ['-4', '-n', namespaceName(), 'route', 'show', 'type', 'blackhole'], { encoding: 'utf8' })
  if (routes.includes(addressOf(BLACKHOLE_HOST))) ip('-4', [`route del ${BLACKHOLE}`])
}

function ip(family: '-4' | '-6', commands: readonly string[]): void {
  if (commands.length === 0) return
  const input = `${commands.join('\n')}\n`
  execFileSync('ip', [family, '-n', namespaceName(), '-batch', '-'], { input, stdio: ['pipe', 'ignore', 'inherit'] })
}

async function untilUp(): Promise<Status> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const status = await findInternet()
    if (status !== undefined) return status
    if (findProcesses().length === 0 || performance.now() > deadline) {
      const said = readFileSync(join(logFolder(), 'internet.log'), 'utf8').trim().split('\n').slice(-5).join('\n')
      await internetDown()
      throw new Error(`the small internet did not come up; ${join(logFolder(), 'internet.log')} ends with:\n${said}`)
    }
    await sleep(100)
  }
}

function formatStatus(status: Status): string {
  const rows = status.providers.map(({ name, addresses, counts }) => {
    const plan = PROVIDERS.find((candidate) => candidate.name === name)
    const address = plan?.software === 'postfix' ? addressOf(plan.hosts[0]) : (addresses[0] ?? '')
    return [plan?.domain ?? name, address, String(counts.outcomes.arrived), plan?.about ?? '']
  })
  const all = [['DOMAIN', 'ADDRESS', 'ARRIVED', 'WHAT IT IS'], ...rows]
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)))
  const lines = all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return [...lines, '', `process ${status.pid}, DNS ${status.dns} at ${addressOf(53)}, files in ${internetFolder()}`].join('\n')
}

async function main([command = '', ...rest]: readonly string[]): Promise<void> {
  const say = (text: string): void => void process.stdout.write(`${text}\n`)
  switch (command) {
    case 'up':
      return say(formatStatus(await internetUp()))
    case 'down':
      return await internetDown()
    case 'status':
      return say(formatStatus(await internetStatus()))
    case 'behave': {
      const [provider, change] = rest
      if (provider === undefined || change === undefined) throw new Error(`a provider and a behaviour are needed: ${USAGE}`)
      return say(JSON.stringify(await behave(provider, parseChange(change)), undefined, 2))
    }
    case 'arrived': {
      const found = await arrivals()
      if (rest.includes('--json')) return say(JSON.stringify(found))
      return say(
        found
          .map((each) => `${each.at} ${each.outcome} ${each.provider} from ${each.sourceAddress} ${each.hello} ${each.messageId}`)
          .join('\n'),
      )
    }
    default:
      throw new Error(`unknown command ${JSON.stringify(command)}: ${USAGE}`)
  }
}

function parseChange(text: string): BehaviourInput {
  try {
    return JSON.parse(text) as BehaviourInput
  } catch (error) {
    throw new Error(`a behaviour must be JSON, was ${text}`, { cause: error })
  }
}

if (import.meta.main) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    process.stderr.write(`internet: ${(error as Error).message}\n`)
    process.exitCode = 1
  })
}
