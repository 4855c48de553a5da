/** What was sent to one copy and is not confirmed yet, so that no more goes out than its connection should hold. */

import { Fifo } from '../fifo.js';
import { type Batch, entryCount } from '../record.js';

interface Sent {
  readonly last: number;
  readonly bytes: number;
}

export class SendWindow {
  readonly #sent = new Fifo<Sent>();
  #bytes = 0;

  /** Entries and payload, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  sent(firstSequence: number, batch: Batch): void {
    const bytes = batch.entries.length + batch.payload.length;
    this.#sent.push({ last: firstSequence + entryCount(batch) - 1, bytes });
    this.#bytes += bytes;
  }

  /** The copy has everything up to `sequence`. */
  confirmed(sequence: number): void {
    for (let sent = this.#sent.at(0); sent !== undefined && sent.last <= sequence; sent = this.#sent.at(0)) {
      this.#bytes -= sent.bytes;
      this.#sent.shift();
    }
  }

  clear(): void {
    this.#sent.clear();
    this.#bytes = 0;
  }
}
