import { runAgent } from '#agent/agent.ts'
import { openInstanceClient } from '#agent/instance-client.ts'
import { openLog } from '#agent/log.ts'
import { openKubeconfig } from '#kube/config.ts'

/**
 * An agent outside a Pod with a real API server: `node test/cluster/shard-agent.ts KUBECONFIG NAMESPACE NAME POD_ADDRESS QUEUE VOLUME`. Its log is
 * on standard output. For tests that kill and stop processes.
 */

const [kubeconfig, namespace, name, podAddress, queueDirectory, queueVolumeUid] = process.argv.slice(2)
if (!kubeconfig || !namespace || !name || !podAddress || !queueDirectory || !queueVolumeUid)
  throw new Error('must be called with KUBECONFIG NAMESPACE NAME POD_ADDRESS QUEUE VOLUME')

const log = openLog('Info')
const [stop, force] = [new AbortController(), new AbortController()]
process.on('SIGTERM', () => stop.abort())
const source = openInstanceClient(
  await openKubeconfig(kubeconfig),
  { kind: 'cluster', namespace, name, uid: undefined, queueDirectory },
  log,
)
await runAgent({
  source,
  host: { hostName: name, podAddress, place: 'pod' },
  queueVolumeUid,
  api: { kind: 'kubeconfig', path: kubeconfig },
  log,
  version: '0.1.0',
  graceMillis: 5_000,
  stop: stop.signal,
  force: force.signal,
  onBroken: (error) => {
    log.fatal({ error: String(error) }, 'cannot go on')
    process.exit(1)
  },
})
process.exit(0)
