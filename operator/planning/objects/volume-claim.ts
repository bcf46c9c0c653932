import { LABELS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { Manifest } from '../change.ts'
import { claimName, instanceLabels, MANAGER } from './metadata.ts'
import type { VolumeClaim } from '../snapshot.ts'

/** The claim of an instance's queue volume. It has no owner: mail must outlive the instance, and be found again by the next one of that name. */
export const buildVolumeClaim = (instance: MTAInstance): Manifest => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: {
    name: instance.spec.queue.volumeClaimName ?? claimName(instance.metadata.name),
    namespace: instance.metadata.namespace ?? '',
    labels: instanceLabels(instance),
  },
  spec: {
    accessModes: ['ReadWriteOnce'],
    volumeMode: 'Filesystem',
    storageClassName: instance.spec.queue.storageClassName,
    resources: { requests: { storage: instance.spec.queue.size } },
  },
})

/** Only a claim that was made for an instance of this name is taken up again: another one may hold anything. */
export const isClaimOf = (claim: VolumeClaim, stream: string, instance: string): boolean => {
  const labels = claim.metadata.labels ?? {}
  return labels[LABELS.managedBy] === MANAGER && labels[LABELS.stream] === stream && labels[LABELS.instance] === instance
}
