/** Reading TLS connections into memory of our choice. */

import type { TLSSocket } from 'node:tls';
import type { Receiver } from '../frontend/direct-socket.js';

/**
 * node:net's own names of what `onread` sets in a socket that it makes. An accepted one has no such option, and a
 * dialled one is to be read by its user from another moment on.
 */
const NAMES = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const;

interface Internals {
  [name: symbol]: unknown;
  readonly _handle?: { readonly useUserBuffer?: (buffer: Uint8Array) => void } | null;
}

/**
 * From now on what arrives is decrypted into what `receiver` says, a TLS record at a time, instead of into a buffer of
 * 16 KiB that is made for each. What has arrived already comes as `data` events before. False, with nothing changed, if
 * Node has other names for it, in some version to come: all comes as `data` events then.
 */
export function readInto(socket: TLSSocket, receiver: Receiver): boolean {
  const internals = socket as unknown as Internals;
  const own = Object.getOwnPropertySymbols(socket);
  const [buffer, callback, next] = NAMES.map((name) => own.find(({ description }) => description === name));
  const handle = internals._handle;
  if (buffer === undefined || callback === undefined || next === undefined) return false;
  if (typeof handle?.useUserBuffer !== 'function') return false;
  const first = receiver.target();
  handle.useUserBuffer(first);
  internals[buffer] = first;
  internals[callback] = (length: number, target: Uint8Array) => receiver.received(target as Buffer, length);
  internals[next] = () => receiver.target();
  return true;
}
