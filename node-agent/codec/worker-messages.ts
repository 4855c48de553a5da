/** What the codec's threads say to each other. */

import { ENTRY_BYTES, MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { CipherEngine, CodecProblem, VolumeOptions } from './codec.js';

/** Memory that both threads see, for one request: plain text, entries, payload. Whose turn it is, messages say. */
export interface Slot {
  readonly plain: Uint8Array;
  readonly entries: Buffer;
  readonly payload: Buffer;
}

const ENTRIES_BYTES = MAX_BATCH_ENTRIES * ENTRY_BYTES;
const SLOT_BYTES = 2 * MAX_BATCH_PAYLOAD_BYTES + ENTRIES_BYTES;

export function makeSlotMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(SLOT_BYTES);
}

export function slotOf(memory: SharedArrayBuffer): Slot {
  return {
    plain: new Uint8Array(memory, 0, MAX_BATCH_PAYLOAD_BYTES),
    payload: Buffer.from(memory, MAX_BATCH_PAYLOAD_BYTES, MAX_BATCH_PAYLOAD_BYTES),
    entries: Buffer.from(memory, 2 * MAX_BATCH_PAYLOAD_BYTES, ENTRIES_BYTES),
  };
}

export interface WorkerData {
  readonly module: WebAssembly.Module;
  readonly engine: CipherEngine;
  readonly slots: readonly SharedArrayBuffer[];
}

/** The bytes of a request are in the slot. Volumes have numbers here, never used twice. */
export type ToWorker =
  | { readonly type: 'open'; readonly volume: number; readonly options: VolumeOptions }
  | { readonly type: 'close'; readonly volume: number }
  | {
      readonly type: 'encode';
      readonly slot: number;
      readonly volume: number;
      readonly firstBlock: number;
      readonly plainBytes: number;
    }
  | {
      readonly type: 'decode';
      readonly slot: number;
      readonly volume: number;
      readonly firstBlock: number;
      readonly plainBytes: number;
      readonly entriesBytes: number;
      readonly payloadBytes: number;
    };

export type FromWorker =
  | { readonly type: 'encoded'; readonly slot: number; readonly entriesBytes: number; readonly payloadBytes: number }
  | { readonly type: 'decoded'; readonly slot: number }
  /** The batch can't be decoded: CodecError. */
  | {
      readonly type: 'refused';
      readonly slot: number;
      readonly kind: CodecProblem;
      readonly block: number;
      readonly detail: string;
    }
  /** Anything else went wrong: the request is to be done elsewhere. */
  | { readonly type: 'failed'; readonly slot: number };
