/** A worker thread of the codec: its own kernels, the keys of the open volumes, one request after the other. */

import { parentPort, workerData } from 'node:worker_threads';
import { CodecError, type SyncVolumeCodec } from './codec.js';
import { openVolumeCodec } from './volume-codec.js';
import { type FromWorker, slotOf, type ToWorker, type WorkerData } from './worker-messages.js';
import { Workspace } from './workspace.js';

const { module, engine, slots: memories } = workerData as WorkerData;
const workspace = new Workspace(module);
const slots = memories.map(slotOf);
const volumes = new Map<number, SyncVolumeCodec>();

function volumeOf(number: number): SyncVolumeCodec {
  const volume = volumes.get(number);
  if (volume === undefined) throw new Error(`volume ${number} is not open here`);
  return volume;
}

function handle(message: Exclude<ToWorker, { type: 'open' | 'close' }>): FromWorker {
  const { slot, firstBlock, plainBytes } = message;
  const { plain, entries, payload } = slots[slot]!;
  const blocks = plain.subarray(0, plainBytes);
  const volume = volumeOf(message.volume);
  if (message.type === 'encode') {
    const batch = volume.encode(blocks, firstBlock);
    entries.set(batch.entries);
    payload.set(batch.payload);
    return { type: 'encoded', slot, entriesBytes: batch.entries.length, payloadBytes: batch.payload.length };
  }
  const { entriesBytes, payloadBytes } = message;
  const batch = { entries: entries.subarray(0, entriesBytes), payload: payload.subarray(0, payloadBytes) };
  volume.decode(batch, firstBlock, blocks);
  return { type: 'decoded', slot };
}

parentPort?.on('message', (message: ToWorker) => {
  if (message.type === 'open') {
    volumes.set(message.volume, openVolumeCodec(workspace, engine, message.options));
    message.options.key?.fill(0);
  } else if (message.type === 'close') {
    volumes.get(message.volume)?.close();
    volumes.delete(message.volume);
  } else {
    let answer: FromWorker;
    try {
      answer = handle(message);
    } catch (error) {
      const { slot } = message;
      if (error instanceof CodecError) {
        answer = { type: 'refused', slot, kind: error.kind, block: error.block, detail: error.detail };
      } else {
        answer = { type: 'failed', slot };
      }
    }
    parentPort?.postMessage(answer);
  }
});
