/** A module of ours in a process of its own, from the sources or from their compiled form. */

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Its standard input is a pipe that ends with this process, its output another; `args` follow in its `process.argv`. */
export function startModule(module: URL, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const path = fileURLToPath(module);
  const load = path.endsWith('.ts')
    ? `import('vite').then(({ runnerImport }) => runnerImport(${JSON.stringify(path)}, { configFile: false }))`
    : `import(${JSON.stringify(module.href)})`;
  return spawn(process.execPath, ['--eval', load, '--', path, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
}
