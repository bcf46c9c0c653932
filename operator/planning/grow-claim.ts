import type { MTAInstance } from '#crds/mta-instance.ts'
import { compareQuantities } from '#crds/quantity.ts'
import type { Manifest } from './change.ts'
import { buildVolumeClaim } from './objects/volume-claim.ts'
import { findObject, type FleetSnapshot, type VolumeClaim } from './snapshot.ts'

/** The claim with the size that is wanted now, where that is more and the StorageClass can grow volumes; otherwise undefined. */
export function growClaim(fleet: FleetSnapshot, instance: MTAInstance, claim: VolumeClaim): Manifest | undefined {
  const wanted = instance.spec.queue.size
  if (wanted === undefined || !isSmaller(claim, wanted) || !canGrow(fleet, claim)) return undefined
  const { metadata } = buildVolumeClaim(instance)
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata, spec: { resources: { requests: { storage: wanted } } } }
}

const isSmaller = ({ spec }: VolumeClaim, wanted: string): boolean => {
  const is = spec?.resources?.requests?.['storage']
  return is !== undefined && compareQuantities(is, wanted) < 0
}

/** A claim that is not bound cannot be changed. */
const canGrow = (fleet: FleetSnapshot, { spec, status }: VolumeClaim): boolean =>
  status?.phase === 'Bound' && findObject(fleet.storageClasses, undefined, spec?.storageClassName ?? '')?.allowVolumeExpansion === true
