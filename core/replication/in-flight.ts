/** Writes that have their order and are not on all members yet, oldest first. */

import type { IoStatus } from '../messages.js';
import type { Batch } from '../record.js';
import type { Epoch, Sequence } from '../types.js';
import { Fifo } from './fifo.js';

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

export class InFlight {
  readonly #flights = new Fifo<Flight>();
  bytes = 0;

  get count(): number {
    return this.#flights.length;
  }

  get oldest(): Flight | undefined {
    return this.#flights.at(0);
  }

  push(flight: Flight): void {
    this.#flights.push(flight);
    this.bytes += flight.batch.payload.length;
  }

  shift(): void {
    const flight = this.#flights.shift();
    if (flight !== undefined) this.bytes -= flight.batch.payload.length;
  }

  /** The write that `sequence` belongs to. */
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
    this.#flights.clear();
    this.bytes = 0;
  }
}
