/**
 * Fuzzes the codec for a while:  npm run fuzz -- [--minutes N] [--seed N]
 *
 * With --seed, exactly that round and nothing else: the way to look at a failure.
 */

import { parseArgs } from 'node:util';
import { CodecFuzzer } from './fuzzer.js';

const PROGRESS_MS = 10_000;

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0) || (values.seed !== undefined && !Number.isSafeInteger(Number(values.seed)))) {
  console.error('Usage: npm run fuzz -- [--minutes N] [--seed N]');
  process.exit(2);
}

const fuzzer = await CodecFuzzer.create();
if (values.seed !== undefined) {
  fuzzer.round(Number(values.seed));
  console.log(`Seed ${values.seed}: nothing found.`);
} else {
  const end = performance.now() + minutes * 60_000;
  let seed = Date.now() % 2 ** 31;
  let rounds = 0;
  for (let report = 0; performance.now() < end; rounds++) {
    fuzzer.round(seed++);
    if (performance.now() > report) {
      report = performance.now() + PROGRESS_MS;
      console.log(`${rounds} rounds, now seed ${seed}`);
    }
  }
  console.log(`${rounds} rounds: nothing found.`);
}
