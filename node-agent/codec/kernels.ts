/** The WebAssembly module of asm/: finding, compiling and instantiating it. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../package-root.js';
import { CodecSetupError } from './codec.js';

const MODULE = join('build', 'codec.wasm');

/** The module's functions and constants; documented in asm/. Pointers are offsets in its memory. */
export interface KernelExports {
  encode(
    plain: number,
    entries: number,
    stored: number,
    firstLow: number,
    firstHigh: number,
    count: number,
    blockSize: number,
    options: number,
  ): number;
  seal(entries: number, count: number, stored: number): void;
  stage(entries: number, count: number, stored: number, staged: number, decrypting: number): number;
  unstage(entries: number, count: number, stored: number, staged: number, decrypting: number): void;
  check(
    entries: number,
    entryCount: number,
    stored: number,
    storedLength: number,
    firstLow: number,
    firstHigh: number,
    count: number,
    blockSize: number,
    options: number,
  ): number;
  decode(
    entries: number,
    entryCount: number,
    stored: number,
    plain: number,
    blockSize: number,
    options: number,
  ): number;
  firstBad(entries: number, entryCount: number, from: number, stored: number, storedEnd: number): number;
  expandKeys(): number;
  wipeKeys(): void;
  lz4Compress(source: number, length: number, target: number, limit: number): number;
  lz4Decompress(source: number, length: number, target: number, capacity: number): number;
  xxh3(input: number, length: number, seedLow: number, seedHigh: number): void;
  xts(at: number, length: number, decrypting: number): void;
}

const CONSTANTS = [
  ...['COMPRESS', 'ENCRYPTED', 'CIPHER_OUTSIDE'],
  ...['GOOD', 'BAD_CHECKSUM', 'BAD_COMPRESSED', 'BAD_LENGTH', 'BAD_ENTRY'],
  ...['VOLUME_ID', 'RESULT', 'KEY', 'DATA_KEYS', 'KEYS_BYTES', 'HASH_TABLE', 'HASH_TABLE_BYTES'],
  ...['ENTRIES', 'ENTRIES_BYTES', 'PLAIN', 'PLAIN_BYTES', 'STORED', 'STORED_BYTES'],
  ...['MEMORY_BYTES', 'DATA_END'],
] as const;

export type KernelConstants = Readonly<Record<(typeof CONSTANTS)[number], number>>;

/** WebAssembly's unit of memory. */
const WASM_PAGE_BYTES = 64 * 1024;
/** The kernels' own memory: asm/memory.ts. */
const KERNEL_PAGES = 33;
/** What asconfig.json allows behind the kernels' own memory, bytes. */
export const MAX_EXTRA_BYTES = 64 << 20;

/** One instance with its memory, which never grows, so that views on it stay valid. */
export interface Kernels {
  readonly call: KernelExports;
  readonly at: KernelConstants;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Compiles build/codec.wasm; the module can be handed to worker threads. CodecSetupError if it isn't there. */
export async function compileKernels(): Promise<WebAssembly.Module> {
  const path = join(packageRoot(), MODULE);
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new CodecSetupError(`can't read the WebAssembly kernels (${path}): run \`npm run build\``, { cause });
  }
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new CodecSetupError(`${path} is not a module that this Node can compile: run \`npm run build\``, { cause });
  }
}

/**
 * An instance with a memory of its own; instances share nothing. `extraBytes`, at most MAX_EXTRA_BYTES, lie behind
 * the kernels' own (`MEMORY_BYTES`) and are the caller's.
 */
export function instantiateKernels(module: WebAssembly.Module, extraBytes = 0): Kernels {
  if (!Number.isInteger(extraBytes) || extraBytes < 0 || extraBytes > MAX_EXTRA_BYTES) {
    throw new RangeError(`${extraBytes} bytes beside the kernels' own: not 0 to ${MAX_EXTRA_BYTES}`);
  }
  const pages = KERNEL_PAGES + Math.ceil(extraBytes / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { exports } = new WebAssembly.Instance(module, { env: { abort, memory } });
  const at = Object.fromEntries(
    CONSTANTS.map((name) => {
      const value = exports[name];
      if (!(value instanceof WebAssembly.Global)) throw new CodecSetupError(`codec.wasm has no ${name}`);
      return [name, Number(value.value)];
    }),
  ) as KernelConstants;
  if (at.MEMORY_BYTES !== KERNEL_PAGES * WASM_PAGE_BYTES || at.DATA_END > at.VOLUME_ID) {
    throw new CodecSetupError('codec.wasm: layout and memory differ');
  }
  return {
    call: exports as unknown as KernelExports,
    at,
    bytes: new Uint8Array(memory.buffer),
    view: new DataView(memory.buffer),
  };
}

/** What the compiled code calls for a condition that its author held impossible. */
function abort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`codec kernel aborted at ${line}:${column}`);
}
