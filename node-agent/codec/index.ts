export * from './codec.js';
export { loadCodec } from './load.js';
