/**
 * Networks: the world's namespace with its bridge, a namespace and a cable for each node. Every step can be done again on what is already there.
 */
import { existsSync } from 'node:fs'
import { BRIDGE, type NodePlan, SOURCE_NETWORKS, WORLD, WORLD_ADDRESS, WORLD_ADDRESS_V6 } from './plan.ts'
import { inNamespace } from './processes.ts'
import { runCommand } from '#test/support/command.ts'

export async function openWorld(nodes: readonly NodePlan[]): Promise<void> {
  await openNamespace(WORLD)
  await setKernel(WORLD, [...ROUTER, 'net/ipv4/conf/all/send_redirects=0', 'net/ipv4/conf/default/send_redirects=0'])
  if (!(await hasLink(WORLD, BRIDGE))) await ip(WORLD, [`link add ${BRIDGE} type bridge mcast_snooping 0`])
  await ip(WORLD, [
    'link set lo up',
    `link set ${BRIDGE} up`,
    `addr replace ${WORLD_ADDRESS}/16 dev ${BRIDGE}`,
    `addr replace ${WORLD_ADDRESS_V6}/64 dev ${BRIDGE} nodad`,
    ...SOURCE_NETWORKS.map((network) => `route replace ${network} dev ${BRIDGE}`),
    ...nodes.map((node) => `route replace ${node.podSubnet} via ${node.address} dev ${BRIDGE}`),
  ])
}

/** Plugs a node in: a new namespace with eth0 and all its addresses. */
export async function connectNode(node: NodePlan): Promise<void> {
  await openNamespace(node.namespace)
  await setKernel(node.namespace, [...ROUTER, 'net/ipv4/conf/all/accept_redirects=0', 'net/ipv4/conf/default/accept_redirects=0'])
  if (!(await hasLink(node.namespace, 'eth0'))) {
    await ip(WORLD, [`link add ${node.link} type veth peer name eth0 address ${node.mac} netns ${node.namespace}`])
  }
  await ip(WORLD, [`link set ${node.link} master ${BRIDGE} up`])
  await ip(node.namespace, [
    'link set lo up',
    'link set eth0 up',
    `addr replace ${node.address}/16 dev eth0`,
    `addr replace ${node.addressV6}/64 dev eth0 nodad`,
    ...node.sourceAddresses.map((address) => `addr replace ${address}/${address.includes(':') ? '128 dev eth0 nodad' : '32 dev eth0'}`),
    // The source is said, because of the addresses above the kernel might choose one of the sending ones for the node's own traffic.
    `route replace default via ${WORLD_ADDRESS} dev eth0 src ${node.address}`,
    `route replace default via ${WORLD_ADDRESS_V6} dev eth0 src ${node.addressV6}`,
  ])
}

/** Pulls the cable out for good; the node's end disappears with ours. */
export async function disconnectNode(node: NodePlan): Promise<void> {
  if (namespaceExists(WORLD) && (await hasLink(WORLD, node.link))) await ip(WORLD, [`link del ${node.link}`])
}

/** The cable as it is, without carrier. */
export async function setCable(node: NodePlan, state: 'up' | 'down'): Promise<void> {
  await ip(WORLD, [`link set ${node.link} ${state}`])
}

export function namespaceExists(namespace: string): boolean {
  return existsSync(`/run/netns/${namespace}`)
}

export async function closeNamespace(namespace: string): Promise<void> {
  if (namespaceExists(namespace)) await runCommand(['ip', 'netns', 'del', namespace])
}

async function openNamespace(namespace: string): Promise<void> {
  if (!namespaceExists(namespace)) await runCommand(['ip', 'netns', 'add', namespace])
}

const ROUTER = [
  'net/ipv4/ip_forward=1',
  'net/ipv6/conf/all/forwarding=1',
  'net/ipv4/conf/all/rp_filter=0',
  'net/ipv4/conf/default/rp_filter=0',
  'net/ipv6/conf/all/accept_dad=0',
  'net/ipv6/conf/default/accept_dad=0',
]

async function setKernel(namespace: string, settings: readonly string[]): Promise<void> {
  const script = settings.map((setting) => `echo ${setting.split('=')[1]} > /proc/sys/${setting.split('=')[0]}`).join('\n')
  await runCommand([...inNamespace(namespace), 'sh', '-e', '-c', script])
}

async function hasLink(namespace: string, link: string): Promise<boolean> {
  const links = JSON.parse(await runCommand(['ip', '-n', namespace, '-json', 'link', 'show'])) as { ifname: string }[]
  return links.some(({ ifname }) => ifname === link)
}

async function ip(namespace: string, commands: readonly string[]): Promise<void> {
  await runCommand(['ip', '-n', namespace, '-batch', '-'], { input: `${commands.join('\n')}\n` })
}
