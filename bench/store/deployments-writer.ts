/**
 * Makes deployments with a log behind their last checkpoint each, and stays until it is killed; see openings.ts:
 *
 *   node deployments-writer.js DIRECTORY DEPLOYMENTS BYTES
 *
 * BYTES to each. Says `ready` on its channel when all is durable.
 */

import { openFileDisk } from '../../node-agent/store/file-disk.js';
import { append, BLOCK_BYTES, deploymentOf, encode, GIB, identity, openStores } from './support.js';

const REQUEST_BLOCKS = 32;

const [directory = '', deployments = '', bytes = ''] = process.argv.slice(2);
const stores = await openStores(openFileDisk(directory));
const flushed: Promise<void>[] = [];
for (let i = 0; i < Number(deployments); i++) {
  const store = await stores.create({ ...identity(GIB / BLOCK_BYTES), deployment: deploymentOf(i) });
  for (let block = 0; block < Number(bytes) / BLOCK_BYTES; block += REQUEST_BLOCKS) {
    await append(store, encode(block, REQUEST_BLOCKS));
  }
  flushed.push(store.flush());
}
await Promise.all(flushed);
process.send?.('ready');
setInterval(() => {}, 60_000);
