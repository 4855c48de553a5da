import { Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Outbox, WRITE_BYTES } from '../../../node-agent/replication/outbox.js';

const POISON = 0xee;

/** A socket that takes its time: a write has ended when `finishWrite` says so. */
class SlowSocket extends Writable {
  readonly writes: Buffer[] = [];
  ended = false;
  #finish: (() => void) | undefined;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.#finish !== undefined) throw new Error('two writes at a time');
    // What is sent may be read until the write has ended.
    this.#finish = () => {
      this.writes.push(Buffer.from(chunk));
      done();
    };
  }

  override _writev(): void {
    throw new Error('several buffers in one write');
  }

  override _final(done: () => void): void {
    this.ended = true;
    done();
  }

  get busy(): boolean {
    return this.#finish !== undefined;
  }

  async finishWrite(): Promise<void> {
    const finish = this.#finish!;
    this.#finish = undefined;
    finish();
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Frames whose payloads are overwritten when nobody holds them any more. */
class Frames {
  held = 0;
  readonly #expected: Buffer[] = [];
  #number = 0;

  get expected(): Buffer {
    return Buffer.concat(this.#expected);
  }

  /** The maker's own hold on the payload ends at once, as that of whoever sends a batch may. */
  send(outbox: Outbox, headBytes: number, payloadBytes: number, leased: boolean): void {
    const fill = (bytes: number): Buffer => Buffer.alloc(bytes, `${++this.#number} `);
    const [head, payload] = [fill(headBytes), fill(payloadBytes)];
    this.#expected.push(Buffer.from(head), Buffer.from(payload));
    if (!leased) {
      outbox.add({ head, payload });
      return;
    }
    let holders = 0;
    const retain = (): void => {
      holders++;
      this.held++;
    };
    const release = (): void => {
      holders--;
      this.held--;
      if (holders === 0) payload.fill(POISON);
    };
    retain();
    outbox.add({ head, payload, lease: { exclusive: true, retain, release } });
    release();
  }
}

const frame = fc.record({
  head: fc.integer({ min: 1, max: 3 * WRITE_BYTES }),
  payload: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3 * WRITE_BYTES }), fc.constant(WRITE_BYTES)),
  leased: fc.boolean(),
  /** Whether the one before is to be under way by then. */
  later: fc.boolean(),
});

describe('what is sent on a connection', () => {
  it('arrives as it was given, in writes of one buffer each and one at a time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 12 }), async (given) => {
        const socket = new SlowSocket();
        const outbox = new Outbox(socket);
        const frames = new Frames();
        for (const { head, payload, leased, later } of given) {
          if (later) await turn();
          frames.send(outbox, head, payload, leased);
        }
        outbox.end();
        await turn();
        while (socket.busy) await socket.finishWrite();
        expect(Buffer.concat(socket.writes).equals(frames.expected)).toBe(true);
        expect(Math.max(...socket.writes.map(({ length }) => length))).toBeLessThanOrEqual(WRITE_BYTES);
        expect(socket.ended).toBe(true);
        expect(outbox.bytes).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it('leaves in one write when it comes in one turn and is short', async () => {
    const socket = new SlowSocket();
    const outbox = new Outbox(socket);
    const frames = new Frames();
    for (let i = 0; i < 10; i++) frames.send(outbox, 100, 4096, i % 2 === 0);
    expect(socket.busy).toBe(false);
    await turn();
    await socket.finishWrite();
    expect(socket.writes.length).toBe(1);
    expect(socket.busy).toBe(false);
  });

  it('goes in full writes, but for the last one', async () => {
    const socket = new SlowSocket();
    const outbox = new Outbox(socket);
    const frames = new Frames();
    for (let i = 0; i < 3; i++) frames.send(outbox, 1000, 300_000, true);
    await turn();
    while (socket.busy) await socket.finishWrite();
    expect(socket.writes.length).toBe(Math.ceil((3 * 301_000) / WRITE_BYTES));
  });

  it('is held until its last byte is written, and no longer', async () => {
    const socket = new SlowSocket();
    const outbox = new Outbox(socket);
    const frames = new Frames();
    frames.send(outbox, 100, 2 * WRITE_BYTES, true);
    await turn();
    await socket.finishWrite();
    await socket.finishWrite();
    expect(frames.held).toBe(1);
    await socket.finishWrite();
    expect(frames.held).toBe(0);
    expect(Buffer.concat(socket.writes).equals(frames.expected)).toBe(true);
  });

  it('is given back when nothing more is to be sent', async () => {
    const socket = new SlowSocket();
    const outbox = new Outbox(socket);
    const frames = new Frames();
    for (let i = 0; i < 4; i++) frames.send(outbox, 100, 2 * WRITE_BYTES, true);
    await turn();
    outbox.clear();
    expect(outbox.bytes).toBe(0);
    expect(frames.held).toBe(1);
    await socket.finishWrite();
    expect(frames.held).toBe(0);
    expect(socket.busy).toBe(false);
    expect(socket.writes).toEqual([frames.expected.subarray(0, WRITE_BYTES)]);
  });

  it('ends with the socket: what a destroyed one has not taken is not sent', async () => {
    const socket = new SlowSocket();
    const outbox = new Outbox(socket);
    const frames = new Frames();
    socket.on('error', () => {});
    socket.destroy();
    frames.send(outbox, 100, 2 * WRITE_BYTES, true);
    await turn();
    outbox.clear();
    expect(socket.writes).toEqual([]);
    expect(frames.held).toBe(0);
  });
});
