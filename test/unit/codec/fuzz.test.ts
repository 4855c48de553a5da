import { expect, test } from 'vitest';
import { CodecFuzzer } from './fuzzer.js';

/** A long run: `npm run fuzz -- --minutes 10`. */
const ROUNDS = 150;

test('random and hostile input, from a seed that a failure names', async () => {
  const fuzzer = await CodecFuzzer.create();
  const start = Date.now() % 2 ** 31;
  expect(() => {
    for (let i = 0; i < ROUNDS; i++) fuzzer.round(start + i);
  }).not.toThrow();
});
