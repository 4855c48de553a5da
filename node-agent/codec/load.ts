/** Sets the codec up and chooses who does AES. */

import { randomBytes } from 'node:crypto';
import { MAX_BATCH_PAYLOAD_BYTES, release } from '../../core/record.js';
import type { VolumeId } from '../../core/types.js';
import { KernelChecksums } from './checksums.js';
import {
  type CipherEngine,
  type Codec,
  type CodecOptions,
  CodecSetupError,
  DEFAULT_IO_MEMORY_BYTES,
  MAX_CODEC_WORKERS,
  MAX_IO_MEMORY_BYTES,
  type SyncVolumeCodec,
  XTS_KEY_BYTES,
} from './codec.js';
import { compileKernels } from './kernels.js';
import { CodecPool, WorkerFailure } from './pool.js';
import { PooledVolumeCodec } from './pooled-codec.js';
import { openVolumeCodec } from './volume-codec.js';
import { Workspace } from './workspace.js';

/** What the engines are measured on: one request of 16 blocks that don't compress. */
const TRIAL_BLOCK_BYTES = 4096;
const TRIAL_BYTES = 16 * TRIAL_BLOCK_BYTES;
const TRIAL_ROUNDS = 8;
/** Long enough for the kernels to reach the optimising compiler. */
const WARM_UP_MS = 30;
const TRIAL_OPTIONS = {
  volume: '00000000-0000-4000-8000-000000000000' as VolumeId,
  blockSize: TRIAL_BLOCK_BYTES,
  compress: true,
};

const SHORTEST_OFFLOAD = 16 * 1024;
const OFFLOAD_GAIN = 2;
const OFFLOAD_ROUNDS = 40;

/** Compiles the kernels and chooses the engine. CodecSetupError if the module is missing or unusable. */
export async function loadCodec(options: CodecOptions = {}): Promise<Codec> {
  const { engine: wanted = 'auto', workers = 0 } = options;
  if (!Number.isInteger(workers) || workers < 0 || workers > MAX_CODEC_WORKERS) {
    throw new RangeError(`${workers} codec workers: not 0 to ${MAX_CODEC_WORKERS}`);
  }
  const { memoryBytes = DEFAULT_IO_MEMORY_BYTES } = options;
  if (!Number.isInteger(memoryBytes) || memoryBytes < 0 || memoryBytes > MAX_IO_MEMORY_BYTES) {
    throw new RangeError(`${memoryBytes} bytes of shared buffers: not 0 to ${MAX_IO_MEMORY_BYTES}`);
  }
  const module = await compileKernels();
  const workspace = new Workspace(module, memoryBytes);
  const engine = wanted === 'auto' ? fasterEngine(workspace) : wanted;
  requireEngine(workspace, engine);
  const pool = workers > 0 ? new CodecPool(module, engine, workers) : undefined;
  let offloadBytes = Number.POSITIVE_INFINITY;
  if (pool !== undefined) offloadBytes = options.offloadBytes ?? (await measureOffload(workspace, engine, pool));
  const open = new Set<PooledVolumeCodec>();
  return {
    engine,
    offloadBytes,
    memory: workspace,
    openVolume: (volume) => {
      const here = openVolumeCodec(workspace, engine, volume);
      const there = pool && { workers: pool, volume: pool.open(volume) };
      const codec: PooledVolumeCodec = new PooledVolumeCodec(here, there, offloadBytes, () => open.delete(codec));
      open.add(codec);
      return codec;
    },
    checksums: (volume) => new KernelChecksums(workspace, volume),
    close: async () => {
      for (const codec of open) codec.close();
      workspace.forget(undefined);
      await pool?.end();
    },
  };
}

/**
 * From which length on a request is worth a worker: where encoding it here takes twice the time that handing it over
 * takes. Infinity if that is nowhere below the largest request, or the workers don't work.
 */
async function measureOffload(workspace: Workspace, engine: CipherEngine, pool: CodecPool): Promise<number> {
  const key = randomBytes(XTS_KEY_BYTES);
  const codec = trialCodec(workspace, engine, key);
  const volume = pool.open({ ...TRIAL_OPTIONS, key });
  const sample = randomBytes(TRIAL_BYTES);
  try {
    let here = Number.POSITIVE_INFINITY;
    let there = Number.POSITIVE_INFINITY;
    for (let round = 0; round < OFFLOAD_ROUNDS; round++) {
      const start = performance.now();
      release(codec.encode(sample, 0));
      const encoded = performance.now();
      await pool.encode(volume, sample.subarray(0, TRIAL_BLOCK_BYTES), 0);
      const returned = performance.now();
      here = Math.min(here, (encoded - start) / TRIAL_BYTES);
      there = Math.min(there, returned - encoded);
    }
    // What a round trip takes beyond the work itself.
    const handover = Math.max(0, there - here * TRIAL_BLOCK_BYTES);
    let length = SHORTEST_OFFLOAD;
    while (length <= MAX_BATCH_PAYLOAD_BYTES && length * here < OFFLOAD_GAIN * handover) length *= 2;
    return length <= MAX_BATCH_PAYLOAD_BYTES ? length : Number.POSITIVE_INFINITY;
  } catch (error) {
    if (error instanceof WorkerFailure) return Number.POSITIVE_INFINITY;
    throw error;
  } finally {
    codec.close();
    pool.close(volume);
  }
}

function trialCodec(
  workspace: Workspace,
  engine: CipherEngine,
  key: Uint8Array = randomBytes(XTS_KEY_BYTES),
): SyncVolumeCodec {
  return openVolumeCodec(workspace, engine, { ...TRIAL_OPTIONS, key });
}

/** An engine that can't do AES-256-XTS here (OpenSSL may be built without it) must not come up later. */
function requireEngine(workspace: Workspace, engine: CipherEngine): void {
  const codec = trialCodec(workspace, engine);
  try {
    const plain = randomBytes(TRIAL_BLOCK_BYTES);
    const back = Buffer.alloc(TRIAL_BLOCK_BYTES);
    const batch = codec.encode(plain, 1);
    codec.decode(batch, 1, back);
    release(batch);
    if (!plain.equals(back)) throw new Error('decoding does not give back what was encoded');
  } catch (cause) {
    throw new CodecSetupError(`the cipher engine "${engine}" does not work here`, { cause });
  } finally {
    codec.close();
  }
}

function fasterEngine(workspace: Workspace): CipherEngine {
  try {
    requireEngine(workspace, 'native');
  } catch {
    return 'wasm';
  }
  const kernels = trialCodec(workspace, 'wasm');
  const native = trialCodec(workspace, 'native');
  try {
    const data = randomBytes(TRIAL_BYTES);
    const time = (codec: SyncVolumeCodec) => {
      const start = process.hrtime.bigint();
      release(codec.encode(data, 0));
      return Number(process.hrtime.bigint() - start);
    };
    const warm = performance.now() + WARM_UP_MS;
    while (performance.now() < warm) {
      time(kernels);
      time(native);
    }
    // The fastest round of each, taken in turns: what disturbs a measurement only adds to it.
    let fastestKernels = Number.POSITIVE_INFINITY;
    let fastestNative = Number.POSITIVE_INFINITY;
    for (let round = 0; round < TRIAL_ROUNDS; round++) {
      fastestKernels = Math.min(fastestKernels, time(kernels));
      fastestNative = Math.min(fastestNative, time(native));
    }
    return fastestNative < fastestKernels ? 'native' : 'wasm';
  } finally {
    kernels.close();
    native.close();
  }
}
