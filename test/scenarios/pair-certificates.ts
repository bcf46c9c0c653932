import type { Stage } from './stage.ts'
import { runCommand } from '#test/support/command.ts'
import { openStuckPage } from './page.ts'
import { longestPause } from './pair-looks.ts'
import { openPair } from './pair.ts'
import { mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'pair-certificates',
  promise: 'certificates of a pair are replaced under load when their Secrets are deleted: no failover, no restart, nothing lost',
  needs: 'local',
  async run(stage) {
    const pair = await openPair(stage, 'renewed')
    const [first, second] = [await pair.primary(), await pair.standby()]
    const page = (await openStuckPage(stage))(first.name, second.name)
    const before = await stage.podIdentities('renewed')
    const load = await pair.load()
    const probe = await pair.probe()
    await load.accepted(200)

    const begun = Date.now()
    const names = [second.name, first.name]
    const old = await Promise.all(names.map((name) => shownBy(stage, name)))
    await page('New certificates, now')
    for (const [index, name] of names.entries())
      await stage.waitFor(`${name} to show another certificate`, 150_000, async () => {
        const now = await shownBy(stage, name)
        return now !== undefined && now !== old[index]
      })
    await pair.inSync()
    // A session of before goes on or is made again; either way the pair is one.
    await stage.pass(5)
    const pause = longestPause(probe.soFar(), begun)
    mustEqual('who leads', [(await pair.primary()).name, (await pair.primary()).epoch], [first.name, first.epoch])
    mustEqual('Pods and restarts', await stage.podIdentities('renewed'), before)
    await pair.inSync()
    const counts = await pair.mustHaveArrived(0)
    return { ...counts, pauseMillis: pause.millis }
  },
}

/** Fingerprint of the certificate that whoever connects to the instance's beacon port is shown; it wants one itself, and ends the connection without. */
async function shownBy(stage: Stage, instance: string): Promise<string | undefined> {
  const read = (path: string) => stage.kubectl('get', 'mtainstance', instance, '-o', `jsonpath={${path}}`)
  const [node, port] = await Promise.all([read('.spec.nodeName'), read('.spec.ports.beacon')])
  const address = await stage.kubectl('get', 'node', node, '-o', 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')
  const look = `openssl s_client -connect ${address}:${port} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256`
  return (await runCommand([...stage.clientExec, 'sh', '-c', look], { timeoutMillis: 20_000 })).trim().split('=')[1]
}
