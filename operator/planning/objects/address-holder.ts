import type { MTAInstance } from '#crds/mta-instance.ts'

/**
 * The container that puts the source addresses on the node (mta-agent/address-holder), where the instance says Managed. All privileges of the Pod
 * are in it and none of its secrets: no token, no volume but the one with the socket.
 */

export const ADDRESS_HOLDER = 'address-holder'
const VOLUME = 'address-holder'
const DEFAULT_REQUESTS = { cpu: '10m', memory: '64Mi' }

export const isManaged = ({ spec }: MTAInstance): boolean => spec.addressAttachment === 'Managed'

export type SocketPlace = {
  readonly directory: string
  /** Of the agent: the socket is for it, by its group. */
  readonly group: number
}

/**
 * Among the init containers, and always restarted: so it is there before the agent, and ends after it, when the last mail has left from the
 * addresses.
 */
export function buildAddressHolder(instance: MTAInstance, defaultImage: string, { directory, group }: SocketPlace) {
  return {
    name: ADDRESS_HOLDER,
    image: instance.spec.agent.image ?? defaultImage,
    imagePullPolicy: 'IfNotPresent',
    restartPolicy: 'Always',
    args: ['address-holder', '--socket', `${directory}/holder.sock`],
    // No limits: one that waits for its share of the processor, or is ended for its memory, lets addresses go.
    resources: { requests: DEFAULT_REQUESTS },
    securityContext: {
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: group,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      // NET_ADMIN sets addresses, NET_RAW announces them.
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
    },
    volumeMounts: [socketMount(directory), { name: TOKEN_HIDER, mountPath: SERVICE_ACCOUNT, readOnly: true }],
  }
}

export const socketMount = (directory: string) => ({ name: VOLUME, mountPath: directory })

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'
const TOKEN_HIDER = 'no-token'

/** An empty one where the kubelet would put the token, which it then does not. */
export const addressHolderVolumes = () => [
  { name: VOLUME, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
  { name: TOKEN_HIDER, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
]
