import { defineConfig } from 'vitest/config'

/**
 * unit: beside their source, plus what needs no cluster (architecture, conversations). Runs in `npm run check`.
 * long: pure too, but a minute of one core. Runs in `npm test`.
 * apiserver: against a real kube-apiserver and etcd, without nodes. Runs in `npm test`.
 */
export default defineConfig({
  test: {
    // Half of the time of these tests is waiting, for sockets, disks and child processes: two for each core keep the cores busy.
    maxWorkers: '200%',
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{crds,kube,operator,mta-agent,scripts}/**/*.test.ts',
            'test/{architecture,conversations,internet,cluster,builders,support,scenarios}/**/*.test.ts',
          ],
          exclude: ['**/*.apiserver.test.ts', '**/*.long.test.ts'],
          // For what hangs. How long a test takes says something about the machine, and nothing about what it asserts.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'long',
          include: ['mta-agent/**/*.long.test.ts'],
        },
      },
      {
        test: {
          name: 'apiserver',
          include: ['{crds,kube,operator,mta-agent,test}/**/*.apiserver.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
