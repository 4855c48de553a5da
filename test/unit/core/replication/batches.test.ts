/** Joining batches: copied, unless their payloads are neighbours that end together. */

import { describe, expect, it } from 'vitest';
import { type Batch, ENTRY_BYTES, type Lease } from '../../../../core/record.js';
import { joinBatches } from '../../../../core/replication/batches.js';

const lease = (): Lease => ({ exclusive: false, retain: () => {}, release: () => {} });
const memory = new Uint8Array(64).map((_, i) => i).buffer;

function batch(at: number, length: number, held?: Lease): Batch {
  return { entries: Buffer.alloc(ENTRY_BYTES, at), payload: Buffer.from(memory, at, length), lease: held };
}

describe('joined batches', () => {
  const held = lease();
  it.each([
    { what: 'neighbours', batches: [batch(8, 3, held), batch(11, 5, held), batch(16, 1, held)], shares: true },
    { what: 'neighbours that nobody leases', batches: [batch(8, 3), batch(11, 5)], shares: true },
    {
      what: 'one without a payload between',
      batches: [batch(8, 3, held), batch(11, 0, held), batch(11, 2, held)],
      shares: true,
    },
    { what: 'a gap', batches: [batch(8, 3, held), batch(12, 5, held)], shares: false },
    { what: 'the wrong order', batches: [batch(11, 5, held), batch(8, 3, held)], shares: false },
    {
      what: 'neighbours with leases of their own',
      batches: [batch(8, 3, lease()), batch(11, 5, lease())],
      shares: false,
    },
    { what: 'a neighbour without a lease', batches: [batch(8, 3, held), batch(11, 5)], shares: false },
  ])('$what: $shares', ({ batches, shares }) => {
    const joined = joinBatches(batches);
    expect(joined.entries).toEqual(Buffer.concat(batches.map(({ entries }) => entries)));
    expect(joined.payload).toEqual(Buffer.concat(batches.map(({ payload }) => payload)));
    expect(joined.payload.buffer === memory).toBe(shares);
    expect(joined.lease).toBe(shares ? batches[0]?.lease : undefined);
  });
});
