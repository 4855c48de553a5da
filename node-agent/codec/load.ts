/** Sets the codec up and chooses who does AES. */

import { randomBytes } from 'node:crypto';
import type { VolumeId } from '../../core/types.js';
import { KernelChecksums } from './checksums.js';
import {
  type CipherEngine,
  type Codec,
  type CodecOptions,
  CodecSetupError,
  type VolumeCodec,
  XTS_KEY_BYTES,
} from './codec.js';
import { compileKernels } from './kernels.js';
import { openVolumeCodec } from './volume-codec.js';
import { Workspace } from './workspace.js';

/** What the engines are measured on: one request of 16 blocks that don't compress. */
const TRIAL_BLOCK_BYTES = 4096;
const TRIAL_BYTES = 16 * TRIAL_BLOCK_BYTES;
const TRIAL_ROUNDS = 8;
/** Long enough for the kernels to reach the optimising compiler. */
const WARM_UP_MS = 30;
const TRIAL_VOLUME = '00000000-0000-4000-8000-000000000000' as VolumeId;

/** Compiles the kernels and chooses the engine. CodecSetupError if the module is missing or unusable. */
export async function loadCodec(options: CodecOptions = {}): Promise<Codec> {
  const workspace = new Workspace(await compileKernels());
  const wanted = options.engine ?? 'auto';
  const engine = wanted === 'auto' ? fasterEngine(workspace) : wanted;
  requireEngine(workspace, engine);
  return {
    engine,
    openVolume: (volume) => openVolumeCodec(workspace, engine, volume),
    checksums: (volume) => new KernelChecksums(workspace, volume),
  };
}

function trialCodec(workspace: Workspace, engine: CipherEngine): VolumeCodec {
  const key = randomBytes(XTS_KEY_BYTES);
  return openVolumeCodec(workspace, engine, {
    volume: TRIAL_VOLUME,
    blockSize: TRIAL_BLOCK_BYTES,
    compress: true,
    key,
  });
}

/** An engine that can't do AES-256-XTS here (OpenSSL may be built without it) must not come up later. */
function requireEngine(workspace: Workspace, engine: CipherEngine): void {
  const codec = trialCodec(workspace, engine);
  try {
    const plain = randomBytes(TRIAL_BLOCK_BYTES);
    const back = Buffer.alloc(TRIAL_BLOCK_BYTES);
    codec.decode(codec.encode(plain, 1), 1, back);
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
    const time = (codec: VolumeCodec) => {
      const start = process.hrtime.bigint();
      codec.encode(data, 0);
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
