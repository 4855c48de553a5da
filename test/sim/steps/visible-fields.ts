/**
 * A module loader's hook (`node:module`, `register`) behind which private fields are ordinary ones with the names
 * `private_…`, so that states can be compared. It changes the compiled code as it is read; nothing else of it.
 */

import type { LoadHook } from 'node:module';

const OWN_CODE = /\/dist\/(core|node-agent|client|test)\//;
/** As the compiler writes them: behind a dot, or at the beginning of a member's declaration. */
const PRIVATE_NAME = /(?<=\.|^\s*(?:static |async |get |set |\*)*)#(?=[A-Za-z])/gm;

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  if (!OWN_CODE.test(url) || loaded.format !== 'module') return loaded;
  return { ...loaded, source: String(loaded.source).replace(PRIVATE_NAME, 'private_') };
};
