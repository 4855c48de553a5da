export type { Region, RegionContents } from './arena.js';
export * from './codec.js';
export { loadCodec } from './load.js';
