import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { pino } from 'pino';
import { beforeAll, describe, expect, it } from 'vitest';
import { bundleWorkflows } from '../../../node-agent/control/bundle-workflows.js';
import { installTemporalRuntime } from '../../../node-agent/control/temporal-runtime.js';
import { historyNames, historyText, parseHistory } from './history-files.js';

const WORKFLOWS = fileURLToPath(new URL('../../../workflows/index.ts', import.meta.url));
const names = historyNames();

let code: string;

beforeAll(async () => {
  installTemporalRuntime(pino({ level: 'silent' }));
  code = await bundleWorkflows();
});

/** Arguments, results and markers. */
function payloadsOf(history: string): string[] {
  return [...history.matchAll(/"data": "([^"]*)"/g)].map((match) => Buffer.from(match[1]!, 'base64').toString());
}

async function replay(history: string, workflowId: string): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: { code } }, parseHistory(history), workflowId);
}

describe('recorded histories replay on the present workflows', () => {
  for (const name of names) {
    it(name, async () => {
      await replay(historyText(name), name);
    });
  }

  it('there is one of every workflow type', () => {
    const types = [...readFileSync(WORKFLOWS, 'utf8').matchAll(/^export \{ (\w+) \}/gm)].map((match) => match[1]);
    expect(types.length).toBeGreaterThan(10);
    const recorded = new Set(names.map((name) => name.replace(/-[a-z-]+$/, '')));
    expect(types.filter((type) => !recorded.has(type!))).toEqual([]);
  });

  it('there is one from before every change that is guarded with `patched`, and one behind it', () => {
    const sources = readdirSync(dirname(WORKFLOWS)).map((file) => readFileSync(join(dirname(WORKFLOWS), file), 'utf8'));
    const patches = sources.flatMap((text) => [...text.matchAll(/\bpatched\('([^']+)'\)/g)].map((match) => match[1]!));
    for (const patch of patches) {
      const behind = names.filter((name) => payloadsOf(historyText(name)).some((text) => text.includes(`"${patch}"`)));
      expect([patch, behind]).toEqual([patch, expect.arrayContaining([expect.any(String)])]);
      expect(names).toContain(`${behind[0]}-before-${patch}`);
      expect(behind).not.toContain(`${behind[0]}-before-${patch}`);
    }
  });

  it('a workflow that does something else than its history is caught', async () => {
    for (const [name, activity] of [
      ['Failover', 'namePrimary'],
      ['Volume', 'lookAtVolume'],
    ] as const) {
      const changed = historyText(name).replaceAll(`"name": "${activity}"`, '"name": "somethingElse"');
      expect(changed).not.toBe(historyText(name));
      await expect(replay(changed, name)).rejects.toBeInstanceOf(DeterminismViolationError);
    }
  });

  it('no history holds a path of the machine that it was recorded on, or a password', () => {
    for (const name of names) {
      const text = historyText(name);
      for (const part of [text, ...payloadsOf(text)]) expect(part).not.toMatch(/\/(home|root|work|tmp)\/|password/i);
    }
  });
});
