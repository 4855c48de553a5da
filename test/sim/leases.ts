/**
 * Leased payloads (core/record.ts) as a process has them: overwritten when the last holder has released them, so that
 * whoever uses one too long reads what nobody wrote; and counted, so that one that is never given back is found.
 */

import { type Batch, type Lease, release, retain } from '../../core/record.js';
import type { SimProcess } from './scheduler.js';

const POISON = 0xdd;
/** How long after its maker a holder may keep a lease, ms: the rest of an answer's way. */
const LATE_MS = 10_000;

class SimLease implements Lease {
  readonly process: SimProcess;
  readonly #payload: Buffer;
  readonly #now: () => number;
  readonly #ended: () => void;
  #holders = 1;
  /** When its maker was done with it. */
  leftAt = Number.POSITIVE_INFINITY;

  constructor(payload: Buffer, process: SimProcess, now: () => number, ended: () => void) {
    this.#payload = payload;
    this.process = process;
    this.#now = now;
    this.#ended = ended;
  }

  get exclusive(): boolean {
    return this.#holders === 1;
  }

  retain(): void {
    if (this.#holders === 0) throw new Error('a payload is held after it was given back');
    this.#holders++;
  }

  release(): void {
    if (this.#holders === 0) throw new Error('a payload is released more often than it was held');
    if (--this.#holders > 0) return;
    this.#payload.fill(POISON);
    this.#ended();
  }

  /** The maker's own release. */
  leave(): void {
    this.leftAt = this.#now();
    this.release();
  }
}

export class Leases {
  readonly #now: () => number;
  readonly #open = new Set<SimLease>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** `batch` with a lease, and what ends its maker's hold. Its memory goes with the process. */
  lend(batch: Batch, process: SimProcess): { readonly batch: Batch; readonly leave: () => void } {
    const lease: SimLease = new SimLease(batch.payload, process, this.#now, () => this.#open.delete(lease));
    this.#open.add(lease);
    return { batch: { ...batch, lease }, leave: () => lease.leave() };
  }

  /** Memory for a payload that is read; poisoned until then. */
  lendBytes(length: number, process: SimProcess): (Lease & { readonly bytes: Buffer }) | undefined {
    if (length === 0) return undefined;
    const bytes = Buffer.alloc(length, POISON);
    const lease: SimLease = new SimLease(bytes, process, this.#now, () => this.#open.delete(lease));
    lease.leftAt = this.#now();
    this.#open.add(lease);
    return Object.assign(lease, { bytes });
  }

  /** Payloads that somebody holds. */
  get held(): number {
    return this.#open.size;
  }

  /** Payloads of living processes that somebody holds. */
  get heldByLiving(): number {
    let held = 0;
    for (const { process } of this.#open) if (process.alive) held++;
    return held;
  }

  /** Payloads of living processes that somebody has kept. */
  get kept(): number {
    let kept = 0;
    for (const { process, leftAt } of this.#open) if (process.alive && this.#now() - leftAt > LATE_MS) kept++;
    return kept;
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
