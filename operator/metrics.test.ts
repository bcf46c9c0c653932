import { expect, test } from 'vitest'
import { openMetrics, resourceOf } from './metrics.ts'

test.each([
  ['/api/v1/namespaces/mail/pods/a', 'pods'],
  ['/api/v1/pods?watch=true', 'pods'],
  ['/api/v1/namespaces/mail', 'namespaces'],
  ['/api/v1/nodes/a', 'nodes'],
  ['/apis/mtafleet.io/v1alpha1/namespaces/mail/ippools/a/status?force=true', 'ippools/status'],
  ['/apis/storage.k8s.io/v1/storageclasses', 'storageclasses'],
  ['/version', 'other'],
])('%s is a call for %s', (path, resource) => {
  expect(resourceOf(path)).toBe(resource)
})

test('what was observed can be read, without names of objects', async () => {
  const metrics = openMetrics()
  metrics.observeCall({ method: 'GET', path: '/api/v1/namespaces/mail/pods/a', code: '2xx', millis: 3 })
  metrics.observeReflector('Pod', { kind: 'listed', objects: 7, because: 'TooOld' })
  metrics.observeReconcile('IPPool', {
    kind: 'failed',
    key: { namespace: 'mail', name: 'a' },
    millis: 3,
    error: new Error('x'),
    retryMillis: 5,
  })
  metrics.follow(() => [['IPPool', 4]])
  metrics.setLeading(1)
  const text = await metrics.registry.metrics()
  expect(text.split('\n').filter((line) => /^mtafleet_.*(total|count|depth|leader)/.test(line))).toEqual([
    'mtafleet_api_call_seconds_count{method="GET",resource="pods",code="2xx"} 1',
    'mtafleet_reflector_lists_total{kind="Pod",because="TooOld"} 1',
    'mtafleet_reconcile_failures_total{controller="IPPool"} 1',
    'mtafleet_reconcile_seconds_count{controller="IPPool"} 1',
    'mtafleet_leader 1',
    'mtafleet_queue_depth{controller="IPPool"} 4',
  ])
})
