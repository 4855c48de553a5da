/** Runs Schemathesis against an API of real routes over a real etcd, with a controller that acts at once. */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listen } from '../../../node-agent/api/server.js';
import { TestEtcd } from '../../setup/etcd.js';
import { ADMIN, startFixture } from '../../unit/api/fixture.js';

/**
 * All checks but these. A request that fits the document may be refused for what it names: an old version, a group
 * that does not exist, more than the licence allows. Whose objects somebody sees is what the access matrix tests.
 */
const EXCLUDED_CHECKS = ['positive_data_acceptance', 'object_level_authorization'];

/** They end the session or the account that the requests are made with. */
const EXCLUDED_OPERATIONS = ['updateAuthenticatedUser', 'deleteAuthenticatedUser', 'deleteAuthenticatedUserSessions'];

/** A volume with all replicas that can be asked for finds room. */
const NODES = 6;

/** Tokens live for five minutes. */
const MAX_SLICE_SECONDS = 240;

export interface SchemathesisOptions {
  readonly program: string;
  readonly seconds: number;
  readonly seed: number;
  readonly report: (text: string) => void;
}

/** Whether nothing was found. What it found is reported as it goes. */
export async function runSchemathesis(options: SchemathesisOptions): Promise<boolean> {
  const { seconds, seed } = options;
  const etcd = await TestEtcd.start();
  try {
    let well = true;
    for (let left = seconds, slice = 0; left > 0; left -= MAX_SLICE_SECONDS, slice++) {
      const found = await runSlice(etcd, {
        ...options,
        seconds: Math.min(left, MAX_SLICE_SECONDS),
        seed: seed + slice,
      });
      well &&= found;
    }
    return well;
  } finally {
    await etcd.destroy();
  }
}

/** In a cluster of its own: what the requests before it have done to users and nodes is gone. */
async function runSlice(etcd: TestEtcd, { program, seconds, seed, report }: SchemathesisOptions): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'schemathesis-'));
  const api = await startFixture(etcd, { nodes: NODES });
  const server = await listen(api.app, { host: '127.0.0.1', port: 0 });
  try {
    const base = `http://127.0.0.1:${server.address.port}/v2`;
    const code = await runProgram(program, directory, report, [
      'run',
      `${base}/openapi`,
      `--url=${base}`,
      `--header=Authorization:Bearer ${await api.login(ADMIN.username, ADMIN.password)}`,
      '--checks=all',
      `--exclude-checks=${EXCLUDED_CHECKS.join(',')}`,
      ...EXCLUDED_OPERATIONS.map((id) => `--exclude-operation-id=${id}`),
      `--max-time=${Math.ceil(seconds)}`,
      `--seed=${seed}`,
      '--continue-on-failure',
      '--generation-database=none',
      '--warnings=off',
      '--no-color',
    ]);
    return code === 0;
  } finally {
    await server.close();
    api.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function runProgram(
  program: string,
  directory: string,
  report: (text: string) => void,
  args: readonly string[],
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.setEncoding('utf8').on('data', report);
    child.stderr.setEncoding('utf8').on('data', report);
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
