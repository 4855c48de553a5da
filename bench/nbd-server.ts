/**
 * An NBD server of ours in a process of its own, as bench/nbd.ts starts it. What is behind it is memory, so that what
 * is measured is the frontend:
 *
 *   node nbd-server.js SOCKET BYTES device|plain|wasm|native
 *
 * `device`: nothing but the protocol. Else a volume of blocks that are encoded, unencrypted or with this cipher
 * engine, and kept as they are stored.
 */

import { randomBytes } from 'node:crypto';
import type { Membership, Placement } from '../core/domain.js';
import { DEFAULT_FRONTEND_SETTINGS } from '../core/frontend/settings.js';
import { VolumeFrontend } from '../core/frontend/volume-frontend.js';
import type { FrontendMessage, IoStatus, SessionMessage } from '../core/messages.js';
import type { SessionChannel, SessionConnector, SessionEvents } from '../core/ports.js';
import {
  type Batch,
  ENTRY_BYTES,
  entryCount,
  KIND_DATA,
  readEntry,
  release,
  writeEntry,
  zeroEntry,
} from '../core/record.js';
import type { DeploymentId, Epoch, Generation, Incarnation, NodeId, SessionNumber, VolumeId } from '../core/types.js';
import { systemClock, systemRandom } from '../node-agent/clock.js';
import { type Codec, type IoMemory, loadCodec, XTS_KEY_BYTES } from '../node-agent/codec/index.js';
import { NbdServer } from '../node-agent/frontend/nbd-server.js';
import { type ByteDevice, type LongRead, VolumeIo } from '../node-agent/frontend/volume-io.js';

const BLOCK_BYTES = 4096;
const VOLUME = '00000000-0000-4000-8000-000000000001' as VolumeId;
const PRIMARY: Placement = {
  deployment: '00000000-0000-4000-8000-000000000002' as DeploymentId,
  node: '00000000-0000-4000-8000-000000000003' as NodeId,
};
const RECORD: Membership = {
  volume: VOLUME,
  epoch: 1 as Epoch,
  primary: { ...PRIMARY, incarnation: '00000000-0000-4000-8000-000000000004' as Incarnation },
  inSync: [PRIMARY.deployment],
  outOfSync: [],
  active: true,
  readOnly: false,
  lossVerifier: 1,
  history: [],
  etcdClusterId: 'bench',
};

/** A disk of bytes in memory. */
class MemoryDevice implements ByteDevice {
  readonly sizeBytes: number;
  readonly preferredBlockBytes = BLOCK_BYTES;
  readonly readOnly = false;
  readonly #memory: Buffer;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#memory = Buffer.alloc(sizeBytes);
  }

  read(offset: number, into: Buffer): Promise<IoStatus> {
    this.#memory.copy(into, 0, offset, offset + into.length);
    return DONE;
  }

  async readLong(offset: number, length: number, memory: IoMemory): Promise<LongRead> {
    const lease = memory.take(length, 'plain');
    const data = lease?.bytes ?? Buffer.allocUnsafeSlow(length);
    return { status: await this.read(offset, data), data, lease };
  }

  write(offset: number, data: Buffer): Promise<IoStatus> {
    data.copy(this.#memory, offset);
    return DONE;
  }

  zero(offset: number, length: number): Promise<IoStatus> {
    this.#memory.fill(0, offset, offset + length);
    return DONE;
  }

  trim(offset: number, length: number): Promise<IoStatus> {
    return this.zero(offset, length);
  }

  zeroesFast(): boolean {
    return true;
  }

  flush(): Promise<IoStatus> {
    return DONE;
  }
}

const DONE = Promise.resolve<IoStatus>('ok');

/** A primary in this process that copies what it is given, as a store copies it to the page cache, and back. */
class MemoryPrimary implements SessionConnector {
  readonly #entries: Buffer;
  readonly #payloads: Buffer;
  readonly #memory: IoMemory;

  constructor(sizeBytes: number, memory: IoMemory) {
    this.#memory = memory;
    this.#entries = Buffer.alloc((sizeBytes / BLOCK_BYTES) * ENTRY_BYTES);
    this.#payloads = Buffer.alloc(sizeBytes);
  }

  connect(_target: unknown, events: SessionEvents): SessionChannel {
    let queue: FrontendMessage[] = [];
    const take = (): void => {
      const messages = queue;
      queue = [];
      for (const message of messages) {
        const answer = this.#answer(message);
        events.message(answer);
        if (answer.type === 'data') release(answer.batch);
      }
    };
    return {
      send: (message) => {
        if (queue.push(message) === 1) queueMicrotask(take);
      },
      close: () => {},
    };
  }

  #answer(message: FrontendMessage): SessionMessage {
    switch (message.type) {
      case 'open':
        return { type: 'opened', session: message.session, epoch: RECORD.epoch, lossVerifier: 1 };
      case 'write':
        this.#write(message.batch);
        return { type: 'written', request: message.request, status: 'ok' };
      case 'read':
        return {
          type: 'data',
          request: message.request,
          status: 'ok',
          batch: this.#read(message.block, message.blocks),
        };
      case 'sync':
        return { type: 'synced', request: message.request, status: 'ok' };
    }
  }

  #write({ entries, payload }: Batch): void {
    let at = 0;
    for (let i = 0; i < entryCount({ entries, payload }); i++) {
      const entry = readEntry(entries, i);
      for (let block = entry.block; block < entry.block + entry.blocks; block++) {
        writeEntry(this.#entries, block, { ...entry, block, blocks: 1 });
      }
      payload.copy(this.#payloads, entry.block * BLOCK_BYTES, at, at + entry.storedLength);
      at += entry.storedLength;
    }
  }

  #read(first: number, blocks: number): Batch {
    const entries = Buffer.allocUnsafe(blocks * ENTRY_BYTES);
    const found = Array.from({ length: blocks }, (_, i) => {
      const entry = readEntry(this.#entries, first + i);
      return entry.kind === KIND_DATA ? entry : zeroEntry(first + i, 1);
    });
    const length = found.reduce((sum, { storedLength }) => sum + storedLength, 0);
    const lease = this.#memory.take(length, 'stored');
    const payload = lease?.bytes ?? Buffer.allocUnsafe(length);
    let at = 0;
    for (const [i, entry] of found.entries()) {
      writeEntry(entries, i, entry);
      const from = entry.block * BLOCK_BYTES;
      at += this.#payloads.copy(payload, at, from, from + entry.storedLength);
    }
    return { entries, payload, lease };
  }
}

function volumeDevice(codec: Codec, sizeBytes: number, encrypted: boolean): ByteDevice {
  let sessions = 0;
  const frontend = new VolumeFrontend({
    volume: { id: VOLUME, blockSize: BLOCK_BYTES, blocks: sizeBytes / BLOCK_BYTES, writethrough: false },
    generation: 1 as Generation,
    session: () => ++sessions as SessionNumber,
    connector: new MemoryPrimary(sizeBytes, codec.memory),
    clock: systemClock,
    random: systemRandom,
    settings: DEFAULT_FRONTEND_SETTINGS,
    events: { attention: () => {}, fenced: () => {}, log: () => {} },
  });
  frontend.onMembership(RECORD, [PRIMARY]);
  return new VolumeIo({
    frontend,
    codec: codec.openVolume({
      volume: VOLUME,
      blockSize: BLOCK_BYTES,
      compress: true,
      ...(encrypted && { key: randomBytes(XTS_KEY_BYTES) }),
    }),
    sizeBytes,
    blockSize: BLOCK_BYTES,
    readOnly: false,
    offloadBytes: codec.offloadBytes,
    onCodecError: (error) => console.error(error),
  });
}

const [socketPath = '', bytes = '', kind = ''] = process.argv.slice(2);
const sizeBytes = Number(bytes);
const codec = await loadCodec({ engine: kind === 'native' ? 'native' : 'wasm' });
const device = kind === 'device' ? new MemoryDevice(sizeBytes) : volumeDevice(codec, sizeBytes, kind !== 'plain');
await NbdServer.listen({
  socketPath,
  exportName: '',
  device,
  memory: codec.memory,
  clock: systemClock,
  log: () => {},
});
