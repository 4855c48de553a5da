/** The library that calls what Linux has and Node has no call for. */

import { createRequire } from 'node:module';
import type koffi from 'koffi';

export type SystemLibrary = typeof koffi;

/** Undefined where there is none for this system or processor: everything has to work without it, slower perhaps. */
export function loadLibrary(): SystemLibrary | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return createRequire(import.meta.url)('koffi') as SystemLibrary;
  } catch {
    return undefined;
  }
}
