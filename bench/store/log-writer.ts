/**
 * Writes a log behind the last checkpoint and stays until it is killed; see recovery.ts:
 *
 *   node log-writer.js DIRECTORY BYTES BLOCKS
 *
 * Requests of 128 KiB to places all over a volume of so many blocks. Says `ready` on its channel when all is durable.
 */

import { openFileDisk } from '../../node-agent/store/file-disk.js';
import { append, BLOCK_BYTES, elsewhere, encode, GIB, identity, openStores } from './support.js';

const REQUEST_BLOCKS = 32;
const CONTENTS = 16;

const [directory = '', bytes = '', blocks = ''] = process.argv.slice(2);
const stores = await openStores(openFileDisk(directory), {
  // Nothing is brought into the index's pages.
  settings: { checkpointBytes: Number.MAX_SAFE_INTEGER, checkpointEntries: Number.MAX_SAFE_INTEGER },
  indexCacheBytes: GIB,
});
const store = await stores.create(identity(Number(blocks)));
const places = Number(blocks) / REQUEST_BLOCKS;
const requests = Number(bytes) / (REQUEST_BLOCKS * BLOCK_BYTES);
const contents = Array.from({ length: CONTENTS }, () => encode(0, REQUEST_BLOCKS));
for (let i = 0; i < requests; i++) {
  const first = Math.floor(Math.random() * places) * REQUEST_BLOCKS;
  await append(store, elsewhere(contents[i % CONTENTS]!, first));
  if (i % CONTENTS === 0) await new Promise((resolve) => setImmediate(resolve));
}
await store.flush();
process.send?.('ready');
setInterval(() => {}, 60_000);
