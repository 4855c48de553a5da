/**
 * Evidence on whether the AES kernels' time depends on what they work on, after Reparaz, Balasch and Verbauwhede,
 * "Dude, is my code constant time?" (DATE 2017): one input class is fixed, the other random, taken in random order;
 * Welch's t-test on the times, also with the slowest ones cut off at several places, as those are the machine's.
 *
 *   npm run bench -- codec-timing [--seconds N]
 *
 * |t| above 4.5 is evidence of a leak; below, there is none so far. LZ4, which does depend on its data, is measured
 * the same way to show that the test can see something. Exit code 1 if a cipher leaks or LZ4 seems not to.
 */

import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { compileKernels, instantiateKernels, type Kernels } from '../node-agent/codec/kernels.js';

const THRESHOLD = 4.5;
const UNIT_BYTES = 1024;
/** Shares of the fastest measurements that are looked at. */
const CROPS = [1, 0.95, 0.9, 0.75, 0.5];
const BATCH = 2000;

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '20' } } });
const seconds = Number(values.seconds);
if (!(seconds > 0)) {
  console.error('Usage: npm run bench -- codec-timing [--seconds N]');
  process.exit(2);
}

interface Subject {
  readonly name: string;
  readonly leaks: boolean;
  /** Bytes that the class decides. */
  readonly inputBytes: number;
  prepare(kernels: Kernels, input: Uint8Array): void;
  run(kernels: Kernels): void;
}

const key = randomBytes(64);
const setKey = (kernels: Kernels, bytes: Uint8Array) => {
  kernels.bytes.set(bytes, kernels.at.KEY);
};
const setData = ({ bytes, at }: Kernels, data: Uint8Array) => bytes.set(data, at.PLAIN);
const withKey = (kernels: Kernels) => {
  setKey(kernels, key);
  kernels.call.expandKeys();
};

const SUBJECTS: readonly Subject[] = [
  {
    name: 'XTS encryption, plain text fixed or random',
    leaks: false,
    inputBytes: UNIT_BYTES,
    prepare: setData,
    run: ({ call, at }) => call.xts(at.PLAIN, UNIT_BYTES - 5, 0),
  },
  {
    name: 'XTS decryption, ciphertext fixed or random',
    leaks: false,
    inputBytes: UNIT_BYTES,
    prepare: setData,
    run: ({ call, at }) => call.xts(at.PLAIN, UNIT_BYTES - 5, 1),
  },
  {
    name: 'XTS encryption, key fixed or random',
    leaks: false,
    inputBytes: 64,
    prepare: (kernels, input) => {
      setKey(kernels, input);
      kernels.call.expandKeys();
    },
    run: ({ call, at }) => call.xts(at.PLAIN, UNIT_BYTES - 5, 0),
  },
  {
    name: 'key expansion, key fixed or random',
    leaks: false,
    inputBytes: 64,
    prepare: setKey,
    run: ({ call }) => {
      call.expandKeys();
    },
  },
  {
    name: 'LZ4, data fixed or random (control: must be seen)',
    leaks: true,
    inputBytes: UNIT_BYTES,
    prepare: setData,
    run: ({ call, at }) => {
      call.lz4Compress(at.PLAIN, UNIT_BYTES, at.STORED, 2 * UNIT_BYTES);
    },
  },
];

/** Mean and variance as they come (Welford). */
class Moments {
  count = 0;
  mean = 0;
  #squares = 0;
  add(value: number): void {
    this.count++;
    const delta = value - this.mean;
    this.mean += delta / this.count;
    this.#squares += delta * (value - this.mean);
  }
  get varianceOfMean(): number {
    return this.#squares / (this.count - 1) / this.count;
  }
}

function welch(a: Moments, b: Moments): number {
  return Math.abs(a.mean - b.mean) / Math.sqrt(a.varianceOfMean + b.varianceOfMean);
}

function examine(kernels: Kernels, subject: Subject, budgetMs: number): { t: number; measurements: number } {
  withKey(kernels);
  // Zeroes and a structured text: what is most unlike random bytes.
  const fixed = new Uint8Array(subject.inputBytes);
  fixed[0] = 1;
  const perCrop = CROPS.map(() => [new Moments(), new Moments()] as const);
  const cuts: number[] = [];
  const end = performance.now() + budgetMs;
  let measurements = 0;
  for (let batch = 0; performance.now() < end; batch++) {
    const classes = randomBytes(BATCH);
    // Both classes are laid out beforehand, so that what precedes a measurement is the same for both.
    const inputs = randomBytes(BATCH * subject.inputBytes);
    for (let i = 0; i < BATCH; i++) if ((classes[i]! & 1) === 0) inputs.set(fixed, i * subject.inputBytes);
    const times = new Float64Array(BATCH);
    for (let i = 0; i < BATCH; i++) {
      subject.prepare(kernels, inputs.subarray(i * subject.inputBytes, (i + 1) * subject.inputBytes));
      const start = process.hrtime.bigint();
      subject.run(kernels);
      times[i] = Number(process.hrtime.bigint() - start);
    }
    if (batch === 0) {
      // The first batch warms up and says where to cut.
      const sorted = Float64Array.from(times).sort();
      for (const share of CROPS) cuts.push(share === 1 ? Number.POSITIVE_INFINITY : sorted[Math.floor(share * BATCH)]!);
      continue;
    }
    measurements += BATCH;
    for (const [crop, pair] of perCrop.entries()) {
      for (let i = 0; i < BATCH; i++) if (times[i]! < cuts[crop]!) pair[classes[i]! & 1]!.add(times[i]!);
    }
  }
  return { t: Math.max(...perCrop.map(([a, b]) => welch(a, b)).filter((t) => !Number.isNaN(t))), measurements };
}

const kernels = instantiateKernels(await compileKernels());
let wrong = 0;
for (const subject of SUBJECTS) {
  // Once for the optimising compiler, once for the record.
  examine(kernels, subject, 300);
  const { t, measurements } = examine(kernels, subject, (seconds * 1000) / SUBJECTS.length);
  const seen = t > THRESHOLD;
  if (seen !== subject.leaks) wrong++;
  const verdict = seen ? 'depends on it' : 'no evidence that time depends on it';
  console.log(`${subject.name}: |t| = ${t.toFixed(2)} of ${measurements} measurements: ${verdict}`);
}
process.exitCode = wrong === 0 ? 0 : 1;
