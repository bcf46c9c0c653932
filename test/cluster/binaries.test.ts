import { expect, test, vi } from 'vitest'
import { BINARY_NAMES, binary } from './binaries.ts'

test('every program has its place in the cache, by the version in its go.mod or npm package', () => {
  vi.stubEnv('XDG_CACHE_HOME', '/cache')
  try {
    expect(BINARY_NAMES.map((name) => binary(name).replace(/-\d+(\.\d+\.\d+)?\//, '-VERSION/'))).toEqual([
      '/cache/mtafleet/etcd-VERSION/etcd',
      '/cache/mtafleet/kubernetes-VERSION/kube-apiserver',
      '/cache/mtafleet/kubernetes-VERSION/kube-controller-manager',
      '/cache/mtafleet/kubernetes-VERSION/kube-scheduler',
      '/cache/mtafleet/kubernetes-VERSION/kubelet',
      '/cache/mtafleet/kubernetes-VERSION/kube-proxy',
      '/cache/mtafleet/coredns-VERSION/coredns',
      '/cache/mtafleet/pause-VERSION/pause',
      '/cache/mtafleet/kubectl-layer-VERSION/kubectl',
      '/cache/mtafleet/kubectl-layer-VERSION/helm',
    ])
  } finally {
    vi.unstubAllEnvs()
  }
})
