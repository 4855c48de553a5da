/**
 * The data path's unit tests on the other versions of Node that are supported: each of their tests is one here. Both
 * cipher engines, WebAssembly, sockets that are read into memory of ours, and timers differ between versions of V8
 * and libuv; the rest of the agent is tested on the version that runs this.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ensureNodeVersions, otherNodeVersions } from '../../scripts/node-versions.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const VITEST = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
const TESTS = ['codec', 'frontend', 'core', 'store', 'transport'].map((area) => `test/unit/${area}`);
const FEWEST_TESTS = 300;
const TIMEOUT_MS = 10 * 60_000;
const MAX_SAID_CHARACTERS = 16 << 10;

/** The part of vitest's JSON report that is used here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly status: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

async function run(program: string): Promise<Report> {
  const directory = mkdtempSync(join(tmpdir(), 'node-version-'));
  const file = join(directory, 'report.json');
  const args = [VITEST, 'run', '--project', 'unit', '--reporter=json', `--outputFile=${file}`, ...TESTS];
  try {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
    let said = '';
    const keep = (chunk: Buffer): void => {
      said = (said + chunk.toString('utf8')).slice(-MAX_SAID_CHARACTERS);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', () => resolve());
    });
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Report;
    } catch (cause) {
      throw new Error(`no report from ${program}; it said:\n${said}`, { cause });
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

await ensureNodeVersions();
for (const { major, program } of otherNodeVersions()) {
  const report = await run(program);
  describe(`Node ${major}`, () => {
    test('ran all of them', () => {
      const count = report.testResults.reduce((sum, { assertionResults }) => sum + assertionResults.length, 0);
      expect(count).toBeGreaterThan(FEWEST_TESTS);
    });
    for (const { name, status, message, assertionResults } of report.testResults) {
      describe(relative(ROOT, name), () => {
        test('could be loaded', () => {
          if (assertionResults.length === 0) expect(status, message).toBe('passed');
        });
        for (const each of assertionResults) {
          test.skipIf(each.status === 'skipped' || each.status === 'pending')(each.fullName, () => {
            expect(each.status, each.failureMessages?.join('\n')).toBe('passed');
          });
        }
      });
    }
  });
}
