import { expect, test } from 'vitest'
import { fleet, named, pool, stream, surroundings } from '#test/builders/fleet.ts'
import { settle } from '#test/builders/settle.ts'
import { buildPod } from './pod.ts'

const settled = settle(fleet({ ...surroundings('node1'), streams: [stream('mail')], pools: [pool('mail', { node1: ['192.0.2.11'] })] }))
const instance = named(settled.instances, 'mail-0-a')
const COMMON = { agentImage: 'mtafleet:1', agentImagePullSecrets: [] }
const pod = (addressAttachment: 'Existing' | 'Managed') => buildPod({ ...instance, spec: { ...instance.spec, addressAttachment } }, COMMON)

type PodSpec = {
  readonly containers: readonly { readonly volumeMounts: readonly { readonly name: string }[]; readonly securityContext: unknown }[]
  readonly volumes: readonly { readonly name: string }[]
}
const without = <T extends { readonly name: string }>(list: readonly T[], ...names: readonly string[]) =>
  list.filter(({ name }) => !names.includes(name))

test('managed addresses: a container of its own that has the privileges, and neither token nor secrets', () => {
  expect((pod('Managed')['spec'] as { readonly initContainers: unknown }).initContainers).toEqual([
    {
      name: 'address-holder',
      image: 'mtafleet:1',
      imagePullPolicy: 'IfNotPresent',
      restartPolicy: 'Always',
      args: ['address-holder', '--socket', '/run/mtafleet/addresses/holder.sock'],
      resources: { requests: { cpu: '10m', memory: '64Mi' } },
      securityContext: {
        runAsNonRoot: false,
        runAsUser: 0,
        runAsGroup: 65532,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      },
      volumeMounts: [
        { name: 'address-holder', mountPath: '/run/mtafleet/addresses' },
        { name: 'no-token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true },
      ],
    },
  ])
})

test('the agent gets the socket, and nothing else changes for it', () => {
  const managed = pod('Managed')['spec'] as PodSpec
  const existing = pod('Existing')['spec'] as PodSpec
  const [agent] = managed.containers
  expect(agent!.volumeMounts).toContainEqual({ name: 'address-holder', mountPath: '/run/mtafleet/addresses' })
  expect({
    ...managed,
    initContainers: undefined,
    containers: [{ ...agent!, volumeMounts: without(agent!.volumeMounts, 'address-holder') }],
    volumes: without(managed.volumes, 'address-holder', 'no-token'),
  }).toEqual(existing)
})

test('addresses that exist need none of it', () => {
  expect(pod('Existing')['spec']).toEqual(buildPod(instance, COMMON)['spec'])
  expect(JSON.stringify(pod('Existing'))).not.toContain('NET_ADMIN')
})
