/**
 * Whole requests as the frontend makes them, in memory that the kernels share with sockets, beside the same work done
 * by native libraries: zero detection, LZ4, AES-256-XTS and the bound XXH3-64, into entries and payload, and back.
 */

import { release } from '../core/record.js';
import type { VolumeId } from '../core/types.js';
import {
  type CipherEngine,
  type Codec,
  loadCodec,
  type VolumeCodec,
  XTS_KEY_BYTES,
} from '../node-agent/codec/index.js';
import { packageRoot } from '../node-agent/package-root.js';
import { benchmarkData, DATA_NAMES, type DataName } from './codec-data.js';
import { mb, ROUNDS, speedOf, work } from './codec-measure.js';
import { Peer, WITHOUT_AES_NI } from './codec-peer.js';
import { median } from './data-path/compare.js';

const BLOCK_BYTES = 4096;
const REQUEST_BYTES = [4096, 131072];
const VOLUME = '00000000-0000-4000-8000-000000000001' as VolumeId;

type Cipher = CipherEngine | 'none';

/** Our cipher, and what does the same beside it. */
const CIPHERS: readonly { readonly cipher: Cipher; readonly peer: string; readonly masked: boolean }[] = [
  { cipher: 'none', peer: 'libraries, unencrypted', masked: false },
  { cipher: 'native', peer: 'libraries, AES-NI', masked: false },
  { cipher: 'wasm', peer: 'libraries, no AES-NI', masked: true },
];

export interface RequestResult {
  readonly cipher: Cipher;
  readonly data: DataName;
  readonly requestBytes: number;
  /** MB/s of plain text. */
  readonly encode: number;
  readonly decode: number;
  /** The peer's, and the medians of the rounds' ratios, ours to theirs. */
  readonly theirs?: { readonly encode: number; readonly decode: number };
  readonly ratio?: { readonly encode: number; readonly decode: number };
}

/** One pass over the data in requests that begin where a socket would have put them. */
function turnsOf(codec: Codec, volume: VolumeCodec, data: Buffer, requestBytes: number) {
  const { memory } = codec;
  const blocks = requestBytes / BLOCK_BYTES;
  const count = data.length / requestBytes;
  const received = memory.take(data.length, 'plain');
  const target = memory.take(requestBytes, 'plain');
  const plain = received?.bytes ?? data;
  const into = target?.bytes ?? memory.window.subarray(0, requestBytes);
  data.copy(plain);
  const batches = Array.from({ length: count }, (_, i) => {
    const batch = volume.encode(plain.subarray(i * requestBytes, (i + 1) * requestBytes), i * blocks);
    const kept = { entries: batch.entries, payload: Buffer.from(batch.payload) };
    release(batch);
    return kept;
  });
  return {
    encode: () => {
      for (let i = 0; i < count; i++) {
        release(volume.encode(plain.subarray(i * requestBytes, (i + 1) * requestBytes), i * blocks));
      }
    },
    decode: () => {
      for (let i = 0; i < count; i++) {
        const { entries, payload } = batches[i]!;
        // Where a file was read, or a socket.
        const lease = memory.take(payload.length, 'stored');
        if (lease !== undefined) payload.copy(lease.bytes);
        volume.decode({ entries, payload: lease?.bytes ?? payload, lease }, i * blocks, into);
        lease?.release();
      }
    },
    end: () => {
      received?.release();
      target?.release();
    },
  };
}

/** Without a program for the other side, ours alone. */
export async function measureRequests(program: string | undefined): Promise<RequestResult[]> {
  const results: RequestResult[] = [];
  const key = Buffer.from(Array.from({ length: XTS_KEY_BYTES }, (_, i) => (i * 7 + 1) & 0xff));
  const peers = program !== undefined && {
    native: new Peer(program),
    masked: new Peer(program, { OPENSSL_ia32cap: WITHOUT_AES_NI }),
  };
  const codecs = { wasm: await loadCodec({ engine: 'wasm' }), native: await loadCodec({ engine: 'native' }) };
  for (const data of DATA_NAMES) {
    const bytes = benchmarkData(data, packageRoot());
    if (peers) for (const peer of [peers.native, peers.masked]) await peer.ask(`load ${work}/${data}.data`);
    for (const requestBytes of REQUEST_BYTES) {
      for (const { cipher, peer: title, masked } of CIPHERS) {
        const codec = codecs[cipher === 'native' ? 'native' : 'wasm'];
        const options = { volume: VOLUME, blockSize: BLOCK_BYTES, compress: true };
        const volume = codec.openVolume(cipher === 'none' ? options : { ...options, key });
        const turns = turnsOf(codec, volume, bytes, requestBytes);
        const peer = peers === false ? undefined : masked ? peers.masked : peers.native;
        const suffix = cipher === 'none' ? 'plain' : 'xts';
        const rounds: Record<'encode' | 'decode' | 'theirEncode' | 'theirDecode', number>[] = [];
        for (let round = 0; round < ROUNDS; round++) {
          rounds.push({
            encode: speedOf(turns.encode),
            decode: speedOf(turns.decode),
            theirEncode: (await peer?.measure(`enc-${suffix}`, requestBytes))?.speed ?? Number.NaN,
            theirDecode: (await peer?.measure(`dec-${suffix}`, requestBytes))?.speed ?? Number.NaN,
          });
        }
        turns.end();
        volume.close();
        const of = (pick: (round: (typeof rounds)[number]) => number): number => median(rounds.map(pick));
        const result: RequestResult = {
          cipher,
          data,
          requestBytes,
          encode: of(({ encode }) => encode),
          decode: of(({ decode }) => decode),
          ...(peer && {
            theirs: { encode: of(({ theirEncode }) => theirEncode), decode: of(({ theirDecode }) => theirDecode) },
            ratio: {
              encode: of(({ encode, theirEncode }) => encode / theirEncode),
              decode: of(({ decode, theirDecode }) => decode / theirDecode),
            },
          }),
        };
        results.push(result);
        print(result, title);
      }
    }
  }
  if (peers) for (const peer of [peers.native, peers.masked]) peer.close();
  return results;
}

function print({ cipher, data, requestBytes, encode, decode, theirs, ratio }: RequestResult, peer: string): void {
  const request = `${String(requestBytes / 1024).padStart(3)} KiB requests`;
  const us = (speed: number): string => `${(requestBytes / speed).toFixed(1).padStart(6)} µs`;
  const line = `codec, cipher ${cipher.padEnd(6)} ${data.padEnd(10)} ${request}`;
  console.log(`${line}  encode ${mb(encode)} MB/s ${us(encode)}  decode ${mb(decode)} MB/s ${us(decode)}`);
  if (theirs === undefined || ratio === undefined) return;
  const beside = `${peer.padStart(line.length)}  encode ${mb(theirs.encode)} MB/s ${us(theirs.encode)}`;
  const ratios = `ratio ${ratio.encode.toFixed(2)} ${ratio.decode.toFixed(2)}`;
  console.log(`${beside}  decode ${mb(theirs.decode)} MB/s ${us(theirs.decode)}  ${ratios}`);
}
