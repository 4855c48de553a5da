import { expect, it } from 'vitest';
import { noDeviceReason } from '../../cluster/volumes.js';
import { runCommandLine } from '../setup/command.js';

const obstacle = noDeviceReason();

it.skipIf(obstacle !== undefined)('npm run tour: every promise holds', async () => {
  const { code, output } = await runCommandLine('cluster/tour/main.js', []);
  process.stdout.write(output);
  expect(output).not.toContain('BROKEN');
  expect(output).toMatch(/(\d+) of \1 promises held/);
  expect(code).toBe(0);
});

it.runIf(obstacle !== undefined)('npm run tour says why it can not be run here', async () => {
  const { code, output } = await runCommandLine('cluster/tour/main.js', []);
  expect(output).toContain(obstacle);
  expect(code).toBe(1);
});
