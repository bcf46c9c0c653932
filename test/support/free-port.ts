import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that the kernel gives to connections and to who asks for any port (net.ipv4.ip_local_port_range begins at 32768). */
const FIRST = 10_240
const LAST = 32_767
const MOST_ATTEMPTS = 100

/**
 * A port of loopback that nobody has now, and that nobody is given by chance before it is used, or while the process that had it is started
 * again.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    const port = randomInt(FIRST, LAST + 1)
    if (await isFree(port)) return port
  }
  throw new Error(`one of ${MOST_ATTEMPTS} ports must be free, none was`)
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer().listen(port, '127.0.0.1')
  try {
    await once(probe, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false
    throw error
  }
  probe.close()
  await once(probe, 'close')
  return true
}
