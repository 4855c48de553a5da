import type { Lender } from '../../core/record.js';
import type { IoMemory } from './codec.js';

/** Of the memory, the part that syncs, and what arrives from other nodes, leave to frontends. */
const KEPT_FOR_FRONTENDS = 0.5;

/** Who gives out memory for stored payloads: to frontends all there is, to the others what frontends can spare. */
export function lendersOf(memory: IoMemory): { readonly lend: Lender; readonly lendSpare: Lender } {
  const lend: Lender = (bytes) => memory.take(bytes, 'stored');
  const kept = memory.totalBytes * KEPT_FOR_FRONTENDS;
  return { lend, lendSpare: (bytes) => (memory.freeBytes - bytes < kept ? undefined : lend(bytes)) };
}
