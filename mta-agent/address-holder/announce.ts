import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Placed } from './port.ts'

/**
 * Tells the neighbourhood who has an address now: neighbours keep the old answer for minutes. The kernel says nothing by itself, neither for
 * IPv4 nor, without its own duplicate detection, for IPv6. What must never happen: that an address is announced which is not held any more. So
 * each process sends once and at once, and whether the address is still held is asked before each.
 */

/** A lost one is made good by the next. */
const ROUNDS = 3
const PAUSE_MILLIS = 1_000
/** arping stays for a second after it has sent, to look for answers that nobody gives. */
const AT_A_TIME = 64
const TIMEOUT_MILLIS = 5_000

const run = promisify(execFile)

export async function announce(addresses: readonly Placed[], isHeld: (address: string) => boolean, signal: AbortSignal): Promise<void> {
  for (let round = 0; round < ROUNDS && !signal.aborted; round++) {
    if (round > 0) await sleep(PAUSE_MILLIS, undefined, { signal }).catch(ignoreAbort)
    await announceOnce(addresses, isHeld, signal)
  }
}

async function announceOnce(addresses: readonly Placed[], isHeld: (address: string) => boolean, signal: AbortSignal): Promise<void> {
  const waiting = addresses.values()
  const worker = async () => {
    for (const one of waiting) if (isHeld(one.address) && !signal.aborted) await send(one, signal)
  }
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, addresses.length) }, worker))
}

async function send(one: Placed, signal: AbortSignal): Promise<void> {
  const [command, ...args] = announcement(one)
  await run(command, args, { signal, killSignal: 'SIGKILL', timeout: TIMEOUT_MILLIS }).catch(ignoreAbort)
}

/** A gratuitous ARP request (RFC 5227 section 3), or an unsolicited neighbour advertisement to all nodes (RFC 4861 section 7.2.6). */
export function announcement({ address, family, interface: name }: Placed): readonly [string, ...string[]] {
  return family === 4
    ? ['arping', '-q', '-U', '-c', '1', '-I', name, '-s', address, address]
    : ['ndptool', '-t', 'na', '-U', '-i', name, '-T', address, 'send']
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error && error.name === 'AbortError')) throw error
}
