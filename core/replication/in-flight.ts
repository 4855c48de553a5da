/** Batches that have their order and are not on all members yet, oldest first. */

import { Fifo } from '../fifo.js';
import type { IoStatus } from '../messages.js';
import { type Batch, release, retain } from '../record.js';
import type { Epoch, Sequence } from '../types.js';

export interface Flight {
  readonly first: Sequence;
  readonly last: Sequence;
  readonly epoch: Epoch;
  /** When it got its order, by the primary's clock. */
  readonly orderedAt: number;
  readonly batch: Batch;
  /** Acknowledged only when it is on the disks of all members. */
  readonly durable: boolean;
  /** Of each write in it; called once, unless the primary steps down before. */
  readonly done: readonly ((status: IoStatus) => void)[];
}

export class InFlight {
  readonly #flights = new Fifo<Flight>();
  /** Of payload. */
  bytes = 0;
  /** Writes in all batches. */
  writes = 0;

  /** Batches. */
  get count(): number {
    return this.#flights.length;
  }

  get oldest(): Flight | undefined {
    return this.#flights.at(0);
  }

  /** Holds the flight's batch until it has left. */
  push(flight: Flight): void {
    retain(flight.batch);
    this.#flights.push(flight);
    this.bytes += flight.batch.payload.length;
    this.writes += flight.done.length;
  }

  shift(): void {
    const flight = this.#flights.shift();
    if (flight === undefined) return;
    release(flight.batch);
    this.bytes -= flight.batch.payload.length;
    this.writes -= flight.done.length;
  }

  /** The batch that `sequence` belongs to. */
  find(sequence: number): Flight | undefined {
    let low = 0;
    let high = this.#flights.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const flight = this.#flights.at(middle)!;
      if (sequence < flight.first) high = middle - 1;
      else if (sequence > flight.last) low = middle + 1;
      else return flight;
    }
    return undefined;
  }

  clear(): void {
    while (this.count > 0) this.shift();
  }
}
