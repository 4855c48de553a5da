/** How the cluster's commands show what they do: one line a step, with its time, on standard error. */

import type { Step } from './binaries.js';

const MAX_REASON_CHARACTERS = 160;

export const showStep: Step = async (name, work) => {
  const started = performance.now();
  const finish = (mark: string, detail = ''): void => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stderr.write(`  ${mark} ${name} (${seconds} s)${detail}\n`);
  };
  // What takes long says that it has begun.
  const announcement = setTimeout(() => process.stderr.write(`  … ${name}\n`), 2_000);
  try {
    const result = await work();
    finish('✓');
    return result;
  } catch (error) {
    // Whoever called may know another way: the first line says why this one was left.
    finish('✗', `: ${(error as Error).message.split('\n')[0]?.slice(0, MAX_REASON_CHARACTERS)}`);
    throw error;
  } finally {
    clearTimeout(announcement);
  }
};

/** Runs a command's main function: errors that are meant for users are printed as their message alone. */
export async function runCommand(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    const expected = error instanceof Error && (error.name.endsWith('ClusterError') || EXPECTED.has(error.name));
    process.stderr.write(`${expected ? `\n${error.message}` : ((error as Error).stack ?? String(error))}\n`);
    process.exitCode = 1;
  }
}

const EXPECTED = new Set(['BinaryError', 'ApiError', 'AttachError']);
