/**
 * Leased payloads (core/record.ts) as a process has them: short ones side by side in memory that has one lease, as
 * node-agent/codec/pieces.ts cuts them, so that what is joined without being copied is; overwritten when the last holder
 * has released them, so that whoever uses one too long reads what nobody wrote; and counted, so that one that is never
 * given back is found.
 */

import { type Batch, type Lease, release, retain } from '../../core/record.js';
import type { SimProcess } from './scheduler.js';

const POISON = 0xdd;
/** Messages whose payloads arrive in leased memory, as in node-agent/replication/wire.ts. */
const LEASED: ReadonlySet<string> = new Set(['append', 'backfill', 'write', 'data']);
/** Of a simulated process, for a few writes: the sooner its holders are gone, the sooner it is overwritten. */
export const SLAB_BYTES = 512;

class SimLease implements Lease {
  readonly process: SimProcess;
  readonly bytes: Buffer;
  readonly #ended: () => void;
  readonly #misused: (how: string) => void;
  #holders = 1;
  #used = 0;

  constructor(length: number, process: SimProcess, ended: () => void, misused: (how: string) => void) {
    this.bytes = Buffer.alloc(length, POISON);
    this.process = process;
    this.#ended = ended;
    this.#misused = misused;
  }

  get exclusive(): boolean {
    return this.#holders === 1;
  }

  hasRoom(length: number): boolean {
    return this.#holders > 0 && this.#used + length <= this.bytes.length;
  }

  /** Takes in a copy of the payload, behind what it has. */
  put(payload: Buffer): Buffer {
    const place = this.bytes.subarray(this.#used, this.#used + payload.length);
    this.#used += payload.copy(place);
    return place;
  }

  retain(): void {
    if (this.#holders === 0) this.#misused('a payload is held after it was given back');
    else this.#holders++;
  }

  release(): void {
    if (this.#holders === 0) {
      this.#misused('a payload is released more often than it was held');
      return;
    }
    if (--this.#holders > 0) return;
    this.bytes.fill(POISON);
    this.#ended();
  }
}

export class Leases {
  readonly #slabBytes: number;
  readonly #misused: (how: string) => void;
  readonly #slabs = new WeakMap<SimProcess, SimLease>();
  readonly #open = new Set<SimLease>();

  /** `slabBytes`: of the memory that payloads of one process share; 0: each has a lease of its own. */
  constructor(slabBytes: number, misused: (how: string) => void) {
    this.#slabBytes = slabBytes;
    this.#misused = misused;
  }

  /** `batch` with a lease, and what ends its maker's hold. Its memory goes with the process. */
  lend(batch: Batch, process: SimProcess): { readonly batch: Batch; readonly leave: () => void } {
    if (batch.payload.length === 0) return { batch, leave: () => {} };
    const lease = this.#leaseFor(batch.payload.length, process);
    return { batch: { ...batch, payload: lease.put(batch.payload), lease }, leave: () => lease.release() };
  }

  /** Held for the payload. */
  #leaseFor(length: number, process: SimProcess): SimLease {
    const present = this.#slabs.get(process);
    if (present?.hasRoom(length) === true) {
      present.retain();
      return present;
    }
    if (length > this.#slabBytes) return this.#make(length, process);
    const slab = this.#make(this.#slabBytes, process);
    this.#slabs.set(process, slab);
    return slab;
  }

  /** A message as it arrives from another process, and what is to be called when it has been taken. */
  arrived<Message extends { readonly type: string }>(
    message: Message,
    process: SimProcess,
  ): { readonly message: Message; readonly leave: () => void } {
    const batch = LEASED.has(message.type) ? batchOf(message) : undefined;
    if (batch === undefined || batch.lease !== undefined) return { message, leave: () => {} };
    const lent = this.lend(batch, process);
    return { message: { ...message, batch: lent.batch }, leave: lent.leave };
  }

  /** Memory for a payload that is read; poisoned until then. */
  lendBytes(length: number, process: SimProcess): (Lease & { readonly bytes: Buffer }) | undefined {
    return length === 0 ? undefined : this.#make(length, process);
  }

  #make(length: number, process: SimProcess): SimLease {
    const ended = (): void => void this.#open.delete(lease);
    const lease: SimLease = new SimLease(length, process, ended, this.#misused);
    this.#open.add(lease);
    return lease;
  }

  /** Leases that somebody holds. */
  get held(): number {
    return this.#open.size;
  }

  /** Leases of living processes that somebody holds. */
  get heldByLiving(): number {
    let held = 0;
    for (const { process } of this.#open) if (process.alive) held++;
    return held;
  }
}

/** A message as it travels inside one process: the same object, its payload held until it has arrived. */
export function hold(message: object): { readonly message: object; readonly arrived: () => void } {
  const batch = batchOf(message);
  if (batch?.lease === undefined) return { message, arrived: () => {} };
  retain(batch);
  return { message, arrived: () => release(batch) };
}

/** A message as it travels between processes: what arrives is a copy. */
export function copied<Message>(message: Message): Message {
  const batch = batchOf(message);
  if (batch?.lease === undefined) return message;
  return { ...message, batch: { entries: batch.entries, payload: Buffer.from(batch.payload) } };
}

function batchOf(message: unknown): Batch | undefined {
  return (message as { readonly batch?: Batch }).batch;
}
