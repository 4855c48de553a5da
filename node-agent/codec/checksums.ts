/** Verifies batches as they are stored and sent. */

import { type Batch, ENTRY_BYTES, MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { VolumeId } from '../../core/types.js';
import type { BlockChecksums } from './codec.js';
import { volumeBytes, type Workspace } from './workspace.js';

export class KernelChecksums implements BlockChecksums {
  readonly #workspace: Workspace;
  readonly #volume: Uint8Array;

  constructor(workspace: Workspace, volume: VolumeId) {
    this.#workspace = workspace;
    this.#volume = volumeBytes(volume);
  }

  firstBad(batch: Batch): number {
    return this.#find(batch, 1)[0] ?? -1;
  }

  bad(batch: Batch): number[] {
    return this.#find(batch, Number.POSITIVE_INFINITY);
  }

  #find({ entries, payload }: Batch, limit: number): number[] {
    const count = entries.length / ENTRY_BYTES;
    if (!Number.isInteger(count) || count > MAX_BATCH_ENTRIES || payload.length > MAX_BATCH_PAYLOAD_BYTES) {
      throw new RangeError(`not a batch: ${entries.length} bytes of entries, ${payload.length} of payload`);
    }
    this.#workspace.use(this.#volume);
    const { call, at, bytes, view } = this.#workspace.kernels;
    let position = this.#workspace.reach(payload);
    bytes.set(entries, at.ENTRIES);
    if (position === undefined) {
      position = at.STORED;
      bytes.set(payload, position);
    }
    const end = position + payload.length;
    const found: number[] = [];
    for (let from = 0; from < count && found.length < limit; from++) {
      from = call.firstBad(at.ENTRIES, count, from, position, end);
      position = view.getUint32(at.RESULT, true);
      if (from < count) found.push(from);
    }
    return found;
  }
}
