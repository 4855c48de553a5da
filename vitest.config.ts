import { defineConfig } from 'vitest/config';

/**
 * `unit` runs its files side by side. `simulation` and `system` run after it and one file at a time: the first
 * fills a processor by itself, the second starts whole clusters and uses mounts, namespaces and loop devices.
 */
export default defineConfig({
  test: {
    globalSetup: ['./test/setup/programs.ts'],
    reporters: ['default', './test/setup/closing-line.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'simulation',
          include: ['test/sim/**/*.test.ts', 'test/crash/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: 2,
          // `npm run crash` goes on for as long as it is asked to.
          testTimeout: Number(process.env.CRASH_TEST_TIMEOUT_MS ?? 600_000),
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/conformance/**/*.test.ts', 'test/faults/**/*.test.ts', 'test/e2e/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
