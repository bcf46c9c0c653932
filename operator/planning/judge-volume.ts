import type { MTAInstance } from '#crds/mta-instance.ts'
import { compareQuantities } from '#crds/quantity.ts'
import { type Finding, good, stuck, waits } from './finding.ts'
import { claimName } from './objects/metadata.ts'
import { isClaimOf } from './objects/volume-claim.ts'
import { findObject, type FleetSnapshot, isDeleting, type Volume, type VolumeClaim } from './snapshot.ts'
import { reaches } from './volumes.ts'

/** Whether the queue has its volume, and why not. */
export function judgeVolume(fleet: FleetSnapshot, instance: MTAInstance): Finding {
  const name = instance.spec.queue.volumeClaimName ?? claimName(instance.metadata.name)
  const claim = findObject(fleet.claims, instance.metadata.namespace, name)
  if (claim === undefined) return waits('VolumeBound', 'ClaimMissing', `volume claim '${name}' is not made yet`)
  if (!isClaimOf(claim, instance.spec.streamRef.name, instance.metadata.name)) {
    const message = `volume claim '${name}' exists, but was not made for this instance (labels mtafleet.io/stream and mtafleet.io/instance): delete or rename it`
    return stuck('VolumeBound', 'ForeignObject', message)
  }
  if (isDeleting(claim))
    return stuck('VolumeBound', 'ClaimDeleting', `volume claim '${name}' is being deleted, and goes when no Pod uses it`)
  const { phase } = claim.status ?? {}
  const volume = `volume '${claim.spec?.volumeName}'`
  if (phase === 'Bound') return good('VolumeBound', 'Bound', volume)
  if (phase === 'Lost')
    return stuck('VolumeBound', 'VolumeLost', `${volume} of claim '${name}' does not exist any more, and the mail on it with it`)
  return judgePending(fleet, instance, claim)
}

function judgePending(fleet: FleetSnapshot, instance: MTAInstance, claim: VolumeClaim): Finding {
  const { name } = claim.metadata
  const className = claim.spec?.storageClassName ?? ''
  const storageClass = findObject(fleet.storageClasses, undefined, className)
  if (storageClass === undefined) {
    return stuck('VolumeBound', 'StorageClassNotFound', `StorageClass '${className}' of volume claim '${name}' must exist`)
  }
  const { nodeName } = instance.spec
  const node = nodeName === undefined ? undefined : findObject(fleet.nodes, undefined, nodeName)
  const free = fleet.volumes.filter(
    (volume) =>
      volume.spec?.storageClassName === className && volume.status?.phase === 'Available' && (node === undefined || reaches(volume, node)),
  )
  if (storageClass.provisioner === 'kubernetes.io/no-provisioner') {
    const where = `of StorageClass '${className}' on node '${nodeName ?? ''}'`
    const why = explainNoneFits(free, claim.spec?.resources?.requests?.['storage'] ?? '0', where)
    if (why !== undefined) return stuck('VolumeBound', 'NoVolumeLeft', `volume claim '${name}' ${why}`)
  }
  return waits('VolumeBound', 'Binding', `volume claim '${name}' waits for its volume`)
}

/** Undefined when one of the free volumes is large enough. */
function explainNoneFits(free: readonly Volume[], wanted: string, where: string): string | undefined {
  const sizes = free.map((volume) => volume.spec?.capacity?.['storage'] ?? '0').toSorted(compareQuantities)
  const largest = sizes.at(-1)
  if (largest === undefined) return `finds no free volume ${where}: add one there`
  if (compareQuantities(largest, wanted) >= 0) return undefined
  return `must have ${wanted}, but the largest free volume ${where} has ${largest}: add a larger one there`
}
