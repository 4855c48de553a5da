export type { Held, RegionContents } from './arena.js';
export * from './codec.js';
export { lendersOf } from './lenders.js';
export { loadCodec } from './load.js';
