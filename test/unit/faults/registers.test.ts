/** The clients whose histories are checked, against disks in memory that do what a disk must not. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IoStatus } from '../../../core/messages.js';
import { systemClock } from '../../../node-agent/clock.js';
import { NbdServer } from '../../../node-agent/frontend/nbd-server.js';
import type { ByteDevice, LongRead } from '../../../node-agent/frontend/volume-io.js';
import { BLOCK_BYTES, contentOf, writeIn } from '../../faults/register-content.js';
import { Registers } from '../../faults/registers.js';
import { TestMemory } from '../frontend/test-memory.js';
import { seeded } from '../store/support.js';

const BLOCKS = 8;
const OPERATIONS = 1_200;
const ANSWER_MS = 5_000;

/** Answers in time, and keeps what it is told to keep. */
class MemoryDisk implements ByteDevice {
  readonly sizeBytes = 64 * BLOCK_BYTES;
  readonly preferredBlockBytes = BLOCK_BYTES;
  readonly readOnly = false;
  bytes = Buffer.alloc(this.sizeBytes);
  writes = 0;

  async read(offset: number, into: Buffer): Promise<IoStatus> {
    this.bytes.copy(into, 0, offset, offset + into.length);
    return 'ok';
  }

  async readLong(offset: number, length: number): Promise<LongRead> {
    const data = Buffer.alloc(length);
    return { status: await this.read(offset, data), data, lease: undefined };
  }

  async write(offset: number, data: Buffer): Promise<IoStatus> {
    this.writes++;
    data.copy(this.bytes, offset);
    return 'ok';
  }

  async zero(offset: number, length: number): Promise<IoStatus> {
    this.bytes.fill(0, offset, offset + length);
    return 'ok';
  }

  trim(offset: number, length: number): Promise<IoStatus> {
    return this.zero(offset, length);
  }

  zeroesFast(): boolean {
    return true;
  }

  async flush(): Promise<IoStatus> {
    return 'ok';
  }
}

/** Often: each loss is found only if nothing overwrites the block before it is read. */
class LosesWrites extends MemoryDisk {
  override async write(offset: number, data: Buffer): Promise<IoStatus> {
    if (this.writes % 20 !== 19) return super.write(offset, data);
    this.writes++;
    return 'ok';
  }
}

/** A primary that was replaced, and is asked all the same. */
class ServesOldReads extends MemoryDisk {
  #old = Buffer.alloc(this.sizeBytes);
  #reads = 0;

  override async read(offset: number, into: Buffer): Promise<IoStatus> {
    const reads = ++this.#reads;
    if (reads % 40 === 20) this.#old = Buffer.from(this.bytes);
    if (reads % 40 !== 39) return super.read(offset, into);
    this.#old.copy(into, 0, offset, offset + into.length);
    return 'ok';
  }
}

class TearsWrites extends MemoryDisk {
  override async write(offset: number, data: Buffer): Promise<IoStatus> {
    return super.write(offset, this.writes % 20 === 19 ? data.subarray(0, BLOCK_BYTES / 2) : data);
  }
}

class WritesElsewhere extends MemoryDisk {
  override async write(offset: number, data: Buffer): Promise<IoStatus> {
    return super.write(this.writes % 20 === 19 ? (offset + BLOCK_BYTES) % (BLOCKS * BLOCK_BYTES) : offset, data);
  }
}

/** A power cut that nobody reported. */
class ForgetsAll extends MemoryDisk {
  override async flush(): Promise<IoStatus> {
    if (this.writes > 200) this.bytes.fill(0);
    return 'ok';
  }
}

class FailsFlushes extends MemoryDisk {
  override async flush(): Promise<IoStatus> {
    return 'io-error';
  }
}

const never = (): Promise<IoStatus> => new Promise(() => {});

class NeverAnswers extends MemoryDisk {
  override read = never;
  override write = never;
  override zero = never;
  override flush = never;
}

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'registers-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

async function use(device: ByteDevice, operations = OPERATIONS): Promise<{ registers: Registers; unanswered: number }> {
  const socketPath = join(directory, 's');
  const memory = new TestMemory();
  const server = await NbdServer.listen({
    socketPath,
    exportName: 'disk',
    device,
    memory,
    clock: systemClock,
    log: () => {},
  });
  try {
    const random = seeded(1).next;
    const registers = new Registers({ blocks: BLOCKS, connections: 2, depth: 4, pauseMs: 0, round: 7, random });
    const client = registers.client(socketPath, 1);
    client.start();
    const deadline = performance.now() + ANSWER_MS;
    while (registers.history.operations.length < operations && performance.now() < deadline) await sleep(5);
    const unanswered = await client.stop(device instanceof NeverAnswers ? 50 : ANSWER_MS);
    return { registers, unanswered };
  } finally {
    await server.close();
  }
}

describe('clients of registers', () => {
  it('find nothing wrong with a disk', async () => {
    const { registers, unanswered } = await use(new MemoryDisk());
    expect(unanswered).toBe(0);
    expect(registers.problems()).toEqual([]);
    const { write, read, flush } = registers.answered;
    expect(Math.min(write, read, flush)).toBeGreaterThan(20);
  });

  it.each([
    ['loses writes', new LosesWrites(), /was seen after|alternate|saw zeroes/],
    ['serves old reads', new ServesOldReads(), /was seen after|alternate|saw zeroes/],
    ['tears writes', new TearsWrites(), /torn/],
    ['writes to other blocks', new WritesElsewhere(), /write \d+ of block \d/],
    ['forgets all', new ForgetsAll(), /saw zeroes/],
    ['fails', new FailsFlushes(), /NBD error 5/],
  ])('find a disk that %s', async (_, device, problem) => {
    const { registers } = await use(device);
    expect(registers.problems().join('\n')).toMatch(problem);
  });

  it('count what is never answered', async () => {
    expect((await use(new NeverAnswers(), 8)).unanswered).toBeGreaterThan(0);
  });
});

describe('the content of a register', () => {
  it('says which write it is from, and when it is not what was written there', () => {
    const two = contentOf(1, 9, 4, 2);
    const [first, second] = [two.subarray(0, BLOCK_BYTES), two.subarray(BLOCK_BYTES)];
    expect(writeIn(first, 1, 4)).toBe(9);
    expect(writeIn(second, 1, 5)).toBe(9);
    expect(writeIn(Buffer.alloc(BLOCK_BYTES), 1, 4)).toBe(0);
    expect(writeIn(first, 2, 4)).toMatch(/another round/);
    expect(writeIn(second, 1, 4)).toMatch(/of block 5/);
    expect(writeIn(Buffer.alloc(BLOCK_BYTES, 1), 1, 4)).toMatch(/not what any client wrote/);
    for (const at of [16, 2000, BLOCK_BYTES - 1]) {
      const torn = Buffer.from(first);
      torn[at]! ^= 1;
      expect(writeIn(torn, 1, 4)).toMatch(/torn/);
    }
  });
});
