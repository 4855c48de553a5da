/**
 * The codec's kernels against native code, and the whole codec with both engines.
 *
 *   npm run bench -- codec [--quick]
 *
 * Every figure is the median of rounds in which ours and theirs take turns, in processor time; ratios are medians
 * of the rounds' ratios. The peer (codec-peer.c) is compiled here; without a C compiler and the libraries' headers only the
 * second part runs.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileKernels, instantiateKernels, type Kernels } from '../node-agent/codec/kernels.js';
import { packageRoot } from '../node-agent/package-root.js';
import { benchmarkData, DATA_BYTES, DATA_NAMES, type DataName } from './codec-data.js';
import { measureRequests } from './codec-fused.js';
import { mb, quick, ROUND_MS, ROUNDS, speedOf, work } from './codec-measure.js';
import { buildPeer, Peer, WITHOUT_AES_NI } from './codec-peer.js';
import { median } from './data-path/compare.js';
import { saveResults } from './results.js';

const SIZES = [4096, 16384, 65536];

type Operation = 'lz4c' | 'lz4d' | 'xxh3' | 'xtse' | 'xtsd';
interface Goal {
  readonly operation: Operation;
  readonly title: string;
  readonly against: string;
  readonly ratio: number;
}
const GOALS: readonly Goal[] = [
  { operation: 'lz4c', title: 'LZ4 compress', against: 'liblz4', ratio: 1.0 },
  { operation: 'lz4d', title: 'LZ4 decompress', against: 'liblz4', ratio: 0.85 },
  { operation: 'xxh3', title: 'XXH3-64', against: 'libxxhash, SSE2', ratio: 0.8 },
  { operation: 'xtse', title: 'AES-256-XTS encrypt', against: 'OpenSSL without AES-NI', ratio: 1.0 },
  { operation: 'xtsd', title: 'AES-256-XTS decrypt', against: 'OpenSSL without AES-NI', ratio: 0.9 },
];

/** One of our kernels over the data, which is at PLAIN; liblz4's streams, for decompression, at STORED. */
function kernelTurn(kernels: Kernels, operation: Operation, size: number, streams: readonly number[]): () => void {
  const { call, at } = kernels;
  const blocks = DATA_BYTES / size;
  const each = (run: (plain: number, i: number) => void) => () => {
    for (let i = 0; i < blocks; i++) run(at.PLAIN + i * size, i);
  };
  switch (operation) {
    case 'lz4c':
      return each((plain) => call.lz4Compress(plain, size, at.STORED, at.STORED_BYTES));
    case 'lz4d': {
      const offsets: number[] = [];
      streams.reduce((position, length, i) => {
        offsets[i] = position;
        return position + length;
      }, at.STORED);
      return each((plain, i) => {
        if (call.lz4Decompress(offsets[i]!, streams[i]!, plain, size) !== size) throw new Error('decompression');
      });
    }
    case 'xxh3':
      return each((plain, i) => call.xxh3(plain, size, i + 1, 0));
    case 'xtse':
      return each((plain) => call.xts(plain, size, 0));
    case 'xtsd':
      return each((plain) => call.xts(plain, size, 1));
  }
}

interface KernelResult {
  readonly operation: Operation;
  readonly data: DataName;
  readonly size: number;
  readonly ours: number;
  readonly theirs: number;
  readonly ratio: number;
  /** Of ciphers: OpenSSL with AES-NI, which has no goal: WebAssembly has no such instructions. */
  readonly withAesNi?: { readonly theirs: number; readonly ratio: number };
  /** Of the compressed sizes, theirs to ours: above 1 is smaller than theirs. */
  readonly compression?: number;
}

async function compareKernels(program: string): Promise<KernelResult[]> {
  const kernels = instantiateKernels(await compileKernels());
  const native = new Peer(program);
  const masked = new Peer(program, { OPENSSL_ia32cap: WITHOUT_AES_NI });
  const results: KernelResult[] = [];
  kernels.bytes.set(Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 7 + 1) & 0xff)), kernels.at.KEY);
  kernels.call.expandKeys();
  for (const data of DATA_NAMES) {
    const bytes = benchmarkData(data, packageRoot());
    const path = join(work, `${data}.data`);
    writeFileSync(path, bytes);
    for (const peer of [native, masked]) await peer.ask(`load ${path}`);
    for (const { operation } of GOALS) {
      const cipher = operation.startsWith('xts');
      // Ciphers and hashes take as long for any data.
      if (data !== 'text' && (cipher || operation === 'xxh3')) continue;
      for (const size of SIZES) {
        kernels.bytes.set(bytes, kernels.at.PLAIN);
        const streams = operation === 'lz4d' ? await loadStreams(kernels, native, size) : [];
        if (operation === 'lz4d' && streams.length === 0) continue;
        const turn = kernelTurn(kernels, operation, size, streams);
        speedOf(turn);
        const rounds: { ours: number; theirs: number; made: number; withAesNi: number }[] = [];
        for (let round = 0; round < ROUNDS; round++) {
          const ours = speedOf(turn);
          const { speed, made } = await (cipher ? masked : native).measure(operation, size);
          const withAesNi = cipher ? (await native.measure(operation, size)).speed : Number.NaN;
          rounds.push({ ours, theirs: speed, made, withAesNi });
        }
        const result = {
          operation,
          data,
          size,
          ours: median(rounds.map(({ ours }) => ours)),
          theirs: median(rounds.map(({ theirs }) => theirs)),
          ratio: median(rounds.map(({ ours, theirs }) => ours / theirs)),
          ...(cipher && {
            withAesNi: {
              theirs: median(rounds.map(({ withAesNi }) => withAesNi)),
              ratio: median(rounds.map(({ ours, withAesNi }) => ours / withAesNi)),
            },
          }),
        };
        if (operation === 'lz4c') {
          let made = 0;
          for (let i = 0; i < DATA_BYTES / size; i++) {
            made += kernels.call.lz4Compress(
              kernels.at.PLAIN + i * size,
              size,
              kernels.at.STORED,
              kernels.at.STORED_BYTES,
            );
          }
          results.push({ ...result, compression: rounds[0]!.made / made });
        } else {
          results.push(result);
        }
        printKernel(results.at(-1)!);
      }
    }
  }
  native.close();
  masked.close();
  return results;
}

/** liblz4's streams of the loaded data, put at STORED; their lengths, or none if they don't fit. */
async function loadStreams(kernels: Kernels, peer: Peer, size: number): Promise<number[]> {
  const path = join(work, 'streams');
  await peer.ask(`streams ${size} ${path}`);
  const file = readFileSync(path);
  const lengths: number[] = [];
  let position = kernels.at.STORED;
  for (let at = 0; at < file.length; ) {
    const length = file.readUInt32LE(at);
    if (position + length > kernels.at.MEMORY_BYTES) return [];
    kernels.bytes.set(file.subarray(at + 4, at + 4 + length), position);
    lengths.push(length);
    position += length;
    at += 4 + length;
  }
  return lengths;
}

function printKernel({ operation, data, size, ours, theirs, ratio, withAesNi, compression }: KernelResult): void {
  const goal = GOALS.find((one) => one.operation === operation)!;
  const name = `${goal.title.padEnd(21)} ${data.padEnd(10)} ${String(size / 1024).padStart(2)} KiB`;
  const size2 = compression === undefined ? '' : `   size ${compression.toFixed(3)}`;
  console.log(
    `${name}  ${mb(ours)} MB/s  ${goal.against.padEnd(22)} ${mb(theirs)} MB/s  ratio ${ratio.toFixed(2)} (goal ${goal.ratio.toFixed(2)})${size2}`,
  );
  if (withAesNi !== undefined) {
    const { theirs: speed, ratio: part } = withAesNi;
    console.log(
      `${' '.repeat(name.length)}  ${' '.repeat(11)}  ${'OpenSSL with AES-NI'.padEnd(22)} ${mb(speed)} MB/s  ratio ${part.toFixed(2)}`,
    );
  }
}

function summary(results: readonly KernelResult[]): void {
  console.log('\nMedians over data and sizes against the goals:');
  for (const { operation, title, against, ratio } of GOALS) {
    const those = results.filter((result) => result.operation === operation);
    const reached = median(those.map((result) => result.ratio));
    const sizes = those.flatMap(({ compression }) => (compression === undefined ? [] : [compression]));
    const size = sizes.length === 0 ? '' : `, size ${median(sizes).toFixed(3)} (goal 0.98)`;
    const verdict = reached >= ratio ? 'reached' : 'missed';
    const hardware = those.flatMap(({ withAesNi }) => (withAesNi === undefined ? [] : [withAesNi.ratio]));
    const beside = hardware.length === 0 ? '' : `; ${median(hardware).toFixed(3)} × OpenSSL with AES-NI`;
    console.log(`  ${title}: ${reached.toFixed(3)} × ${against}, goal ${ratio.toFixed(2)}: ${verdict}${size}${beside}`);
  }
}

const program = buildPeer();
const kernels = program === undefined ? [] : await compareKernels(program);
const requests = await measureRequests(program);
if (kernels.length > 0) summary(kernels);
if (!quick) saveResults('codec', { rounds: ROUNDS, roundMs: ROUND_MS }, { kernels, requests });
