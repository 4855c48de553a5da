import type { IoStatus } from '../messages.js';
import { invariant } from '../ports.js';
import type { Batch } from '../record.js';

export interface RequestResult {
  readonly status: IoStatus;
  /** Of a read that is `ok`, held for the caller; else empty. */
  readonly batch: Batch;
}

/** A request that has not been answered to its caller. */
export interface PendingRequest {
  /** Rises in the order of the calls; identifies the request in every session. */
  readonly id: number;
  readonly kind: 'write' | 'read' | 'flush';
  /** The blocks that it touches: `first` … `end - 1`; none for a flush. */
  readonly first: number;
  readonly end: number;
  /** What it counts in the window. */
  readonly bytes: number;
  readonly submittedAtMs: number;
  /** Of a write. */
  readonly batch: Batch | undefined;
  readonly fua: boolean;
  /** Of a flush: see LossTracker.mark. */
  readonly mark: number;
  readonly resolve: (result: RequestResult) => void;
  /** `blocked`: behind an overlapping write. `ready`: to be sent. `sent`: in the open session. */
  state: 'blocked' | 'ready' | 'sent';
  /** Unanswered earlier writes that it overlaps. */
  blockers: number;
  /** Who waits for this one. */
  readonly dependents: PendingRequest[];
}

/**
 * The unanswered requests of a frontend: which may be sent, which wait for an overlapping write, and how much
 * is in the window. Writes that overlap are in the primary's hands one at a time and in the order of the
 * calls; a read is behind every earlier write that it overlaps.
 */
export class RequestTable {
  readonly #limits: { readonly maxRequests: number; readonly windowRequests: number; readonly windowBytes: number };
  /** In the order of the calls. */
  readonly #all = new Map<number, PendingRequest>();
  readonly #writes = new Set<PendingRequest>();
  #ready: PendingRequest[] = [];
  #sentRequests = 0;
  #sentBytes = 0;
  #bytes = 0;

  constructor(limits: {
    readonly maxRequests: number;
    readonly windowRequests: number;
    readonly windowBytes: number;
  }) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#all.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(id: number): PendingRequest | undefined {
    return this.#all.get(id);
  }

  oldest(): PendingRequest | undefined {
    for (const request of this.#all.values()) return request;
    return undefined;
  }

  /** Takes a request in; it is `ready` unless it overlaps an unanswered write. */
  add(request: PendingRequest): void {
    invariant(this.#all.size < this.#limits.maxRequests, 'frontend request bound', () => `${this.#all.size} requests`);
    if (request.kind !== 'flush') {
      for (const write of this.#writes) {
        if (write.first < request.end && request.first < write.end) {
          write.dependents.push(request);
          request.blockers++;
        }
      }
    }
    this.#all.set(request.id, request);
    this.#bytes += request.bytes;
    if (request.kind === 'write') this.#writes.add(request);
    if (request.blockers > 0) {
      request.state = 'blocked';
    } else {
      request.state = 'ready';
      this.#ready.push(request);
    }
  }

  /** The next request for the primary, which counts as sent from now on; undefined if none may be sent. */
  takeReady(): PendingRequest | undefined {
    const { windowRequests, windowBytes } = this.#limits;
    const next = this.#ready[0];
    if (next === undefined || this.#sentRequests >= windowRequests) return undefined;
    if (this.#sentRequests > 0 && this.#sentBytes + next.bytes > windowBytes) return undefined;
    this.#ready.shift();
    next.state = 'sent';
    this.#sentRequests++;
    this.#sentBytes += next.bytes;
    return next;
  }

  /** The request is over, answered or given up: who waited for it may go on. */
  remove(request: PendingRequest): void {
    this.#all.delete(request.id);
    this.#writes.delete(request);
    this.#bytes -= request.bytes;
    if (request.state === 'sent') {
      this.#sentRequests--;
      this.#sentBytes -= request.bytes;
    } else if (request.state === 'ready') {
      this.#ready = this.#ready.filter((other) => other !== request);
    }
    for (const dependent of request.dependents) {
      dependent.blockers--;
      if (dependent.blockers === 0 && this.#all.has(dependent.id)) {
        dependent.state = 'ready';
        this.#ready.push(dependent);
      }
    }
  }

  /**
   * The session is gone: everything that may be sent is to be sent again. Writes first, in the order of the
   * calls, so that a read or a flush never meets a state older than one that it was promised.
   */
  rewind(): void {
    const flushes: PendingRequest[] = [];
    const reads: PendingRequest[] = [];
    this.#ready = [];
    for (const request of this.#all.values()) {
      if (request.state === 'blocked') continue;
      request.state = 'ready';
      const queue = request.kind === 'write' ? this.#ready : request.kind === 'flush' ? flushes : reads;
      queue.push(request);
    }
    this.#ready.push(...flushes, ...reads);
    this.#sentRequests = 0;
    this.#sentBytes = 0;
  }

  /** All unanswered requests of a kind, in the order of the calls. */
  ofKind(kind: PendingRequest['kind']): PendingRequest[] {
    return [...this.#all.values()].filter((request) => request.kind === kind);
  }

  /** All unanswered requests in the order of the calls. */
  all(): PendingRequest[] {
    return [...this.#all.values()];
  }
}
