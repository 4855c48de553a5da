import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { waitFor } from '../../../cluster/wait.js';

const progress = fileURLToPath(new URL('../../../scripts/progress.mjs', import.meta.url));

it.each([
  ['ended well', 'resolve', /^ {2}… slow\n {2}✓ slow \(\d+\.\d s\)\n$/],
  ['failed', 'reject', /^ {2}… slow\n {2}✗ slow \(\d+\.\d s\)\n$/],
])('a step without a terminal says that it has begun, and when it has %s', async (_, outcome, whole) => {
  const work = `new Promise((resolve, reject) => process.stdin.once('data', ${outcome}))`;
  const script = `import(${JSON.stringify(progress)}).then(({ step }) => step('slow', () => ${work})).catch(() => {})`;
  const child = spawn(process.execPath, ['-e', `${script}.finally(() => process.exit())`]);
  try {
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    await waitFor('the step to begin', () => (said === '  … slow\n' ? true : undefined), { timeoutMs: 30_000 });
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.stdin.write('go on\n');
    await ended;
    expect(said).toMatch(whole);
  } finally {
    child.kill('SIGKILL');
  }
});
