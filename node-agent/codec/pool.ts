/** Worker threads for large requests, so that encoding them doesn't hold up the event loop. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Batch } from '../../core/record.js';
import { packageRoot } from '../package-root.js';
import { Slab } from '../slab.js';
import { type CipherEngine, CodecError, CodecSetupError, type VolumeOptions } from './codec.js';
import {
  type FromWorker,
  makeSlotMemory,
  type Slot,
  slotOf,
  type ToWorker,
  type WorkerData,
} from './worker-messages.js';

/** Requests that a worker has at once: one that it works on and the next. */
const SLOTS_PER_WORKER = 2;
/** Requests that wait for a slot; a further one is done by the caller's thread. */
const MAX_WAITING = 1024;

/** The worker could not do it; the request is untouched and can be done elsewhere. */
export class WorkerFailure extends Error {
  constructor() {
    super('a codec worker failed');
    this.name = 'WorkerFailure';
  }
}

interface Job {
  /** Puts the request into the slot and says what is there. */
  start(slot: Slot, index: number): ToWorker;
  done(slot: Slot, message: FromWorker): void;
  fail(): void;
}

interface Member {
  readonly worker: Worker;
  readonly slots: readonly Slot[];
  readonly jobs: (Job | undefined)[];
  ended: boolean;
}

export class CodecPool {
  readonly #members: Member[];
  readonly #waiting: Job[] = [];
  readonly #slab = new Slab();
  #volumes = 0;

  constructor(module: WebAssembly.Module, engine: CipherEngine, size: number) {
    const path = workerPath();
    this.#members = Array.from({ length: size }, () => this.#startWorker(path, module, engine));
  }

  /** Whether there is a worker and a place in the queue. */
  get available(): boolean {
    return this.#waiting.length < MAX_WAITING && this.#members.some(({ ended }) => !ended);
  }

  /** Makes a volume known to all workers; returns its number. The key is copied, each copy goes to one worker. */
  open(options: VolumeOptions): number {
    const volume = ++this.#volumes;
    for (const { worker } of this.#members) {
      const key = options.key && Uint8Array.from(options.key);
      const message: ToWorker = { type: 'open', volume, options: key === undefined ? options : { ...options, key } };
      worker.postMessage(message, key === undefined ? [] : [key.buffer]);
    }
    return volume;
  }

  /** The workers erase the key when they have done what they were given before. */
  close(volume: number): void {
    for (const { worker } of this.#members) worker.postMessage({ type: 'close', volume } satisfies ToWorker);
  }

  /** Rejects with WorkerFailure. */
  encode(volume: number, plain: Uint8Array, firstBlock: number): Promise<Batch> {
    return new Promise((resolve, reject) => {
      this.#submit({
        start: (slot, index) => {
          slot.plain.set(plain);
          return { type: 'encode', slot: index, volume, firstBlock, plainBytes: plain.length };
        },
        done: (slot, message) => {
          if (message.type !== 'encoded') return reject(new WorkerFailure());
          const [entries, payload] = this.#slab.takeTwo(message.entriesBytes, message.payloadBytes);
          entries.set(slot.entries.subarray(0, message.entriesBytes));
          payload.set(slot.payload.subarray(0, message.payloadBytes));
          resolve({ entries, payload });
        },
        fail: () => reject(new WorkerFailure()),
      });
    });
  }

  /** Rejects with CodecError or WorkerFailure. The batch is within the limits of core/record.ts. */
  decode(volume: number, batch: Batch, firstBlock: number, into: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#submit({
        start: (slot, index) => {
          slot.entries.set(batch.entries);
          slot.payload.set(batch.payload);
          const lengths = { entriesBytes: batch.entries.length, payloadBytes: batch.payload.length };
          return { type: 'decode', slot: index, volume, firstBlock, plainBytes: into.length, ...lengths };
        },
        done: (slot, message) => {
          if (message.type === 'refused') return reject(new CodecError(message.kind, message.block, message.detail));
          if (message.type !== 'decoded') return reject(new WorkerFailure());
          into.set(slot.plain.subarray(0, into.length));
          resolve();
        },
        fail: () => reject(new WorkerFailure()),
      });
    });
  }

  async end(): Promise<void> {
    await Promise.all(
      this.#members.map(async (member) => {
        this.#lose(member);
        await member.worker.terminate();
      }),
    );
  }

  #startWorker(path: string, module: WebAssembly.Module, engine: CipherEngine): Member {
    const memories = Array.from({ length: SLOTS_PER_WORKER }, makeSlotMemory);
    const data: WorkerData = { module, engine, slots: memories };
    const worker = new Worker(path, { workerData: data, name: 'codec' });
    const member: Member = { worker, slots: memories.map(slotOf), jobs: memories.map(() => undefined), ended: false };
    // An idle worker doesn't keep the process alive; #update has it do so while there is work.
    worker.unref();
    worker.on('message', (message: FromWorker) => this.#answered(member, message));
    worker.on('error', () => this.#lose(member));
    worker.on('exit', () => this.#lose(member));
    return member;
  }

  #submit(job: Job): void {
    let best: Member | undefined;
    for (const member of this.#members) {
      if (!member.ended && member.jobs.includes(undefined) && (best === undefined || busy(member) < busy(best))) {
        best = member;
      }
    }
    if (best !== undefined) this.#assign(best, job);
    else if (this.available) this.#waiting.push(job);
    else job.fail();
  }

  #assign(member: Member, job: Job): void {
    const index = member.jobs.indexOf(undefined);
    member.jobs[index] = job;
    member.worker.ref();
    member.worker.postMessage(job.start(member.slots[index]!, index));
  }

  #answered(member: Member, message: FromWorker): void {
    const job = member.jobs[message.slot];
    job?.done(member.slots[message.slot]!, message);
    member.jobs[message.slot] = undefined;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#assign(member, next);
    else if (busy(member) === 0) member.worker.unref();
  }

  /** A worker has ended, by error or on purpose: others do what it had, or the callers. */
  #lose(member: Member): void {
    if (member.ended) return;
    member.ended = true;
    for (const [index, job] of member.jobs.entries()) {
      member.jobs[index] = undefined;
      job?.fail();
    }
    if (!this.available) for (const job of this.#waiting.splice(0)) job.fail();
  }
}

function busy(member: Member): number {
  return member.jobs.filter((job) => job !== undefined).length;
}

/** Beside this module; Node can't run it from the sources, so that tests take the built one. */
function workerPath(): string {
  const beside = fileURLToPath(new URL('./worker.js', import.meta.url));
  if (existsSync(beside)) return beside;
  const built = join(packageRoot(), 'dist', 'node-agent', 'codec', 'worker.js');
  if (existsSync(built)) return built;
  throw new CodecSetupError(`the codec's worker (${built}) is missing: run \`npm run build\``);
}
