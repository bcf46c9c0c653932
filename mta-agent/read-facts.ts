import { statfsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { activityOf } from './activity.ts'
import { presentAddresses } from './addresses.ts'
import type { DocumentKeeper } from './document-keeper.ts'
import type { Parts } from './open-parts.ts'
import type { ReportFacts } from './report.ts'
import type { Settings } from './settings.ts'

/** What the running agent reports of itself on its MTAInstance, asked of its parts and of the node. */

export type Situation = {
  readonly settings: Settings
  readonly stopping: boolean
  readonly version: string
  readonly keeper: Pick<DocumentKeeper, 'addresses'>
}

export function readFacts({ settings, stopping, version, keeper }: Situation, parts: Parts): ReportFacts {
  const { instance, restartNeeded } = settings
  const { roomWatch, scheduler, credentials, damagedMail, addresses, shard } = parts
  const wanted = instance.spec.addresses.map(({ address }) => address)
  const managed = addresses?.report()
  const directory = instance.spec.directories.queue
  const { bavail, blocks, bsize } = statfsSync(directory)
  return {
    generation: instance.metadata.generation,
    version,
    activity: activityOf({ settings, stopping }, parts),
    restartNeeded,
    wantedAddresses: wanted,
    presentAddresses: managed?.held ?? presentAddresses(wanted, networkInterfaces()),
    ...(managed && { managed }),
    // One that was taken out of the document is free when no connection is open from it, when what is kept does not name it either, and where it was
    // brought, when it is gone again.
    usedAddresses: [...new Set([...scheduler.usedAddresses(), ...keeper.addresses(), ...(addresses?.there() ?? [])])],
    unbindable: scheduler.unavailableAddresses(),
    credentials: credentials.judge(Date.now()),
    storage: {
      directory,
      freeBytes: bavail * bsize,
      volumeBytes: blocks * bsize,
      refusesMail: roomWatch.refusesMail(),
      damagedMessages: damagedMail.count(),
    },
    ...(shard && { replication: shard.status() }),
  }
}
