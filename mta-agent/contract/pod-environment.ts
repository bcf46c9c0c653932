/** The environment that the operator gives the agent's container. Everything else the agent reads from its MTAInstance. */

export const POD_ENVIRONMENT = {
  /** Which MTAInstance the agent is. Required in a Pod. */
  namespace: 'INSTANCE_NAMESPACE',
  name: 'INSTANCE_NAME',
  /** metadata.uid of it: without the API server, the document kept on the queue volume is used only when it is of this very instance. */
  uid: 'INSTANCE_UID',
  /** Where the queue volume is mounted: where that kept document is looked for. The same as spec.directories.queue. */
  queueDirectory: 'QUEUE_DIRECTORY',
  /** metadata.uid of the PersistentVolumeClaim of the queue volume: a queue that was found on another one before is another copy of it. */
  queueVolumeUid: 'QUEUE_VOLUME_UID',
  /** The Pod's own address (downward API, status.podIP): submission listens there unless spec.listenAddress says otherwise. */
  podAddress: 'POD_IP',
  /** How long running transactions may go on after SIGTERM, in whole seconds; some seconds less than terminationGracePeriodSeconds. Default 25. */
  graceSeconds: 'GRACE_SECONDS',
  /** File that the last words go to when the agent cannot start or go on. Default /dev/termination-log, if there is one. */
  terminationLog: 'TERMINATION_LOG',
} as const
