/** Writes that have their order and are not on all members yet, oldest first. */

import type { IoStatus } from '../messages.js';
import type { Batch } from '../record.js';
import type { Epoch, Sequence } from '../types.js';

export interface Flight {
  readonly first: Sequence;
  readonly last: Sequence;
  readonly epoch: Epoch;
  readonly batch: Batch;
  /** Acknowledged only when it is on the disks of all members. */
  readonly durable: boolean;
  /** Called once, unless the primary steps down before. */
  readonly done: (status: IoStatus) => void;
}

/** Slots at the head that may be empty before the queue is moved together. */
const COMPACT_AFTER = 1024;

export class InFlight {
  #flights: (Flight | undefined)[] = [];
  #head = 0;
  bytes = 0;

  get count(): number {
    return this.#flights.length - this.#head;
  }

  get oldest(): Flight | undefined {
    return this.#flights[this.#head];
  }

  push(flight: Flight): void {
    this.#flights.push(flight);
    this.bytes += flight.batch.payload.length;
  }

  shift(): void {
    const flight = this.#flights[this.#head];
    if (flight === undefined) return;
    this.#flights[this.#head++] = undefined;
    this.bytes -= flight.batch.payload.length;
    if (this.#head >= COMPACT_AFTER && this.#head * 2 >= this.#flights.length) {
      this.#flights = this.#flights.slice(this.#head);
      this.#head = 0;
    }
  }

  /** The write that `sequence` belongs to. */
  find(sequence: number): Flight | undefined {
    let low = this.#head;
    let high = this.#flights.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const flight = this.#flights[middle]!;
      if (sequence < flight.first) high = middle - 1;
      else if (sequence > flight.last) low = middle + 1;
      else return flight;
    }
    return undefined;
  }

  clear(): void {
    this.#flights = [];
    this.#head = 0;
    this.bytes = 0;
  }
}
