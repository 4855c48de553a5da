/** Reading sockets into memory of our choice. */

import { Socket } from 'node:net';

export interface Receiver {
  /** Where the next bytes go, at least one; asked once after each `received`. */
  target(): Buffer;
  /** The first `length` bytes of `target` are there. False: no more for now; `socket.resume()` goes on. */
  received(target: Buffer, length: number): boolean;
}

/** node:net's own name for what is beneath a socket; there is no public way to take an accepted one over. */
interface WithHandle {
  _handle?: unknown;
}

/**
 * Takes an accepted socket over, of which nothing has been read (`pauseOnConnect`), so that what arrives is read by
 * the kernel straight into what `receiver` says. Node offers this for sockets that it makes (`onread`), not for those
 * that a server accepts: the connection beneath is moved to a socket that we make. If Node has none to move, in
 * some version to come, the bytes are copied there instead.
 *
 * A target that `receiver` has given may be filled at any time until the next one is asked for, after a pause as well.
 */
export function receiveDirectly(accepted: Socket, receiver: Receiver): Socket {
  const handle = (accepted as WithHandle)._handle;
  if (handle === undefined || handle === null) return receiveByCopy(accepted, receiver);
  (accepted as WithHandle)._handle = null;
  // Without its connection it is an empty shell; the server stops counting it.
  accepted.destroy();
  const options = {
    handle,
    onread: {
      buffer: () => receiver.target(),
      callback: (length: number, target: Uint8Array) => receiver.received(target as Buffer, length),
    },
  };
  return new Socket(options as ConstructorParameters<typeof Socket>[0]);
}

/** The same without what is undocumented: each chunk is copied to the targets. */
export function receiveByCopy(socket: Socket, receiver: Receiver): Socket {
  socket.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      const target = receiver.target();
      const length = chunk.copy(target, 0, at);
      at += length;
      if (receiver.received(target, length)) continue;
      socket.pause();
      if (at < chunk.length) socket.unshift(chunk.subarray(at));
      return;
    }
  });
  socket.resume();
  return socket;
}
