import type { ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { addressOf, addressV6Of, DNS_HOST, SILENT_DNS_HOST } from './catalogue.ts'
import { startProcess } from './processes.ts'
import { dnsFolder, logFolder } from './state.ts'
import { ZONES } from './zones.ts'

/**
 * The authoritative name server: NSD from Debian. It serves nothing but what it is given, refuses the rest, needs no database and no rights
 * but the port, and answers SERVFAIL for a zone whose file is missing, which is wanted here. (Knot would do as well; it is larger.)
 */
export function startDns(): ChildProcess {
  const folder = dnsFolder()
  mkdirSync(join(folder, 'zones'), { recursive: true })
  for (const zone of ZONES) if (typeof zone.text === 'string') writeFileSync(join(folder, 'zones', zone.name), zone.text)
  const file = join(folder, 'nsd.conf')
  writeFileSync(file, configuration(folder))
  return startProcess('nsd', ['nsd', '-d', '-c', file], 'child')
}

function configuration(folder: string): string {
  const server = [
    `ip-address: ${addressOf(DNS_HOST)}`,
    `ip-address: ${addressV6Of(DNS_HOST)}`,
    'server-count: 1',
    'username: ""',
    'chroot: ""',
    'database: ""',
    `zonesdir: "${folder}/zones"`,
    `pidfile: "${folder}/nsd.pid"`,
    `xfrdfile: "${folder}/xfrd.state"`,
    `xfrdir: "${folder}"`,
    `zonelistfile: "${folder}/zone.list"`,
    `logfile: "${logFolder()}/nsd.log"`,
    // Everybody asks through one CoreDNS: a limit per client would drop honest questions.
    'rrl-ratelimit: 0',
    'rrl-whitelist-ratelimit: 0',
    'tcp-count: 200',
  ]
  const zones = ZONES.map(({ name }) => `zone:\n  name: "${name}"\n  zonefile: "${name}"\n`)
  return `server:\n${server.map((line) => `  ${line}`).join('\n')}\nremote-control:\n  control-enable: no\n${zones.join('')}`
}

/** The name server that a delegation names, and that takes questions and never answers. */
export async function openSilentDns(): Promise<AsyncDisposable> {
  const address = addressOf(SILENT_DNS_HOST)
  const udp = createSocket('udp4')
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.resume()
  })
  const bound = Promise.withResolvers<void>()
  udp.once('error', bound.reject)
  tcp.once('error', bound.reject)
  udp.bind(53, address, () => tcp.listen(53, address, bound.resolve))
  await bound.promise
  return {
    [Symbol.asyncDispose]: async () => {
      udp.close()
      tcp.close()
    },
  }
}
