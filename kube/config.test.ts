import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openInCluster, openKubeconfig } from './config.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kube-config-'))
})
afterEach(async () => {
  await rm(directory, { recursive: true })
})

const POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' }
const put = (name: string, text: string) => writeFile(join(directory, name), text)

/** As the kubelet does it: the file is another one at once. */
async function replace(name: string, text: string): Promise<void> {
  await put(`.${name}.new`, text)
  await rename(join(directory, `.${name}.new`), join(directory, name))
}

async function serviceAccount(): Promise<void> {
  await Promise.all([put('token', 'first\n'), put('ca.crt', 'CA'), put('namespace', 'mail')])
}

test('in a Pod, access comes from the environment and the mounted files', async () => {
  await serviceAccount()
  const server = await openInCluster(POD, directory)
  expect([server.namespace, await server.read()]).toEqual([
    'mail',
    { url: 'https://10.96.0.1:443', token: 'first', tls: { ca: 'CA', verify: 'Full' } },
  ])
})

test('an IPv6 service address stands in brackets', async () => {
  await serviceAccount()
  const server = await openInCluster({ ...POD, KUBERNETES_SERVICE_HOST: 'fd00::1' }, directory)
  expect((await server.read()).url).toBe('https://[fd00::1]:443')
})

test('a rotated token is seen', async () => {
  await serviceAccount()
  const server = await openInCluster(POD, directory)
  await replace('token', 'second')
  expect((await server.reread()).token).toBe('second')
})

test('an unchanged file gives the very same access', async () => {
  await serviceAccount()
  const server = await openInCluster(POD, directory)
  expect(await server.reread()).toBe(await server.read())
})

test('a token that vanished is an error now and no error later', async () => {
  await serviceAccount()
  const server = await openInCluster(POD, directory)
  await rm(join(directory, 'token'))
  await expect(server.reread()).rejects.toThrow('ENOENT')
  await put('token', 'third')
  expect((await server.reread()).token).toBe('third')
})

test('outside a Pod the in-cluster way says what is missing', async () => {
  await expect(openInCluster({}, directory)).rejects.toThrow('KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be set')
})

const KUBECONFIG = `
current-context: one
contexts:
  - { name: one, context: { cluster: local, user: admin, namespace: mail } }
  - { name: two, context: { cluster: local, user: cloud } }
  - { name: three, context: { cluster: nowhere, user: admin } }
clusters:
  - { name: local, cluster: { server: 'https://127.0.0.1:6443/', certificate-authority: ca.crt, tls-server-name: kubernetes } }
users:
  - { name: admin, user: { client-certificate-data: Q0VSVA==, client-key-data: S0VZ } }
  - { name: cloud, user: { exec: { command: get-token } } }
`

test('a kubeconfig gives the access of its current context, files beside it included', async () => {
  await Promise.all([put('config', KUBECONFIG), put('ca.crt', 'CA')])
  const server = await openKubeconfig(join(directory, 'config'))
  expect([server.namespace, await server.read()]).toEqual([
    'mail',
    { url: 'https://127.0.0.1:6443', tls: { verify: 'Full', ca: 'CA', cert: 'CERT', key: 'KEY', serverName: 'kubernetes' } },
  ])
})

test.each([
  ['two', "user 'cloud' has exec, which is not supported; a client certificate, token or tokenFile must be given"],
  ['three', "must have a cluster named 'nowhere', but has 'local'"],
  ['four', "must have a context named 'four', but has 'one', 'two', 'three'"],
])('context %s is refused: %s', async (context, message) => {
  await Promise.all([put('config', KUBECONFIG), put('ca.crt', 'CA')])
  await expect(openKubeconfig(join(directory, 'config'), { context })).rejects.toThrow(message)
})

test('what is no kubeconfig is refused', async () => {
  await put('config', '')
  await expect(openKubeconfig(join(directory, 'config'))).rejects.toThrow('must be a kubeconfig file, but holds no mapping')
})
