import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { CallReport } from '#kube/transport.ts'
import type { ReflectorReport } from '#kube/reflector.ts'
import type { LoopReport } from './controllers/controller.ts'

/** What Prometheus can ask the operator. Labels have few values: kinds and verbs, never names of objects. */

export type Metrics = {
  readonly registry: Registry
  observeCall(report: CallReport): void
  observeReflector(kind: string, report: ReflectorReport): void
  observeReconcile(controller: string, report: LoopReport): void
  countLostEvent(why: string): void
  /** Asked at each scrape. */
  follow(depths: () => Iterable<readonly [controller: string, depth: number]>): void
  setLeading(leading: 0 | 1): void
}

export function openMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const calls = new Histogram({
    name: 'mtafleet_api_call_seconds',
    help: 'Calls to the API server, by method, resource and outcome; for a watch the time until it began.',
    labelNames: ['method', 'resource', 'code'],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  })
  const counter = (name: string, help: string, labelNames: string[]) => new Counter({ name, help, labelNames, registers })
  const lists = counter('mtafleet_reflector_lists_total', 'Lists by a reflector: at its start, or because its place was too old.', [
    'kind',
    'because',
  ])
  const watches = counter('mtafleet_reflector_watches_total', 'Watches begun by a reflector.', ['kind'])
  const breaks = counter('mtafleet_reflector_failures_total', 'Lists and watches that failed.', ['kind', 'step', 'because'])
  const failures = counter('mtafleet_reconcile_failures_total', 'Reconciles that failed and come again.', ['controller'])
  const lost = counter('mtafleet_events_lost_total', 'Kubernetes Events that were not written.', ['because'])
  const reconciles = new Histogram({
    name: 'mtafleet_reconcile_seconds',
    help: 'Reconciles, from start to end.',
    labelNames: ['controller'],
    buckets: [0.002, 0.01, 0.05, 0.2, 1, 5, 30],
    registers,
  })
  const leader = new Gauge({ name: 'mtafleet_leader', help: 'Whether this replica leads: 1 or 0.', registers })
  return {
    registry,
    observeCall: ({ method, path, code, millis }) =>
      calls.observe({ method: verbOf(method, path), resource: resourceOf(path), code }, millis / 1000),
    observeReflector: (kind, report) => {
      if (report.kind === 'listed') lists.inc({ kind, because: report.because })
      else if (report.kind === 'watching') watches.inc({ kind })
      else breaks.inc({ kind, step: report.step, because: report.error.kind })
    },
    observeReconcile: (controller, report) => {
      reconciles.observe({ controller }, report.millis / 1000)
      if (report.kind === 'failed') failures.inc({ controller })
    },
    countLostEvent: (because) => lost.inc({ because }),
    setLeading: (leading) => leader.set(leading),
    follow: (depths) => {
      const gauge = new Gauge({
        name: 'mtafleet_queue_depth',
        help: 'Keys that wait for a free place to be reconciled.',
        labelNames: ['controller'],
        registers,
        collect: () => {
          for (const [controller, depth] of depths()) gauge.set({ controller }, depth)
        },
      })
    },
  }
}

const verbOf = (method: string, path: string): string => (path.includes('watch=true') ? 'WATCH' : method)

/** `/apis/apps/v1/namespaces/mail/deployments/x/status?…` → `deployments/status`. */
export function resourceOf(path: string): string {
  const [, root, ...parts] = path.split('?')[0]?.split('/') ?? []
  if (root !== 'api' && root !== 'apis') return 'other'
  const rest = parts.slice(root === 'api' ? 1 : 2)
  const [plural = 'other', , sub] = rest[0] === 'namespaces' && rest.length > 2 ? rest.slice(2) : rest
  return sub === undefined ? plural : `${plural}/${sub}`
}
