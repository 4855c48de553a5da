/**
 * How long `storageos` takes to start, beside a Node that does nothing.
 *
 *   npm run bench -- cli [--quick]
 *
 * `get nodes` asks a server on this machine that answers at once.
 */

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { saveResults } from './results.js';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 5 : 25;
const MAIN = fileURLToPath(new URL('../cli/main.js', import.meta.url));

const server = createServer((request, response) => {
  request.resume();
  const login = request.url === '/v2/auth/login';
  const body = login ? { session: { token: 'token', expiresInSeconds: 300 } } : [];
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;

const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  'node -e 0': ['-e', '0'],
  'storageos version': [MAIN, 'version'],
  'storageos get volumes --help': [MAIN, 'get', 'volumes', '--help'],
  'storageos get nodes': [MAIN, 'get', 'nodes', '--endpoints', endpoint, '--no-auth-cache'],
};

async function run(args: readonly string[]): Promise<number> {
  const beganMs = performance.now();
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`);
  return performance.now() - beganMs;
}

const times = new Map<string, number[]>();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, args] of Object.entries(COMMANDS)) times.set(name, [...(times.get(name) ?? []), await run(args)]);
}
server.close();
const results = Object.fromEntries(
  [...times].map(([name, each]) => {
    const sorted = [...each].sort((a, b) => a - b);
    const at = (part: number) => Math.round(sorted[Math.floor((sorted.length - 1) * part)] ?? 0);
    return [name, { medianMs: at(0.5), p90Ms: at(0.9) }];
  }),
);
console.table(results);
if (!quick) saveResults('cli', { rounds: ROUNDS }, { startUp: results });
