/**
 * A client of NBD servers on unix sockets, for what wants to see every request by itself: any number of requests at
 * a time on one connection, answered by simple replies in any order.
 */

import { connect, type Socket } from 'node:net';
import {
  CMD,
  type CMD_FLAG,
  HANDSHAKE_FIXED_NEWSTYLE,
  HANDSHAKE_NO_ZEROES,
  MAGIC_GREETING,
  MAGIC_OPTION,
  MAGIC_REQUEST,
  MAGIC_SIMPLE_REPLY,
  OPT,
  OPTION_HEADER_BYTES,
  REQUEST_BYTES,
} from '../../node-agent/frontend/nbd-protocol.js';

const GREETING_BYTES = 18;
const EXPORT_BYTES = 10;
const REPLY_BYTES = 16;
const EMPTY = Buffer.alloc(0);

/** The server has answered a request with an error of the protocol's `ERR`. */
export class NbdRequestError extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`NBD error ${code}`);
    this.name = 'NbdRequestError';
    this.code = code;
  }
}

/** The connection has ended: what was asked for and not answered may have been done or not. */
export class NbdConnectionError extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'NbdConnectionError';
  }
}

/** The path of a socket in a URI such as `nbd+unix:///?socket=/path`. Errors: TypeError. */
export function socketOf(uri: string): string {
  const path = new URL(uri).searchParams.get('socket');
  if (path === null) throw new TypeError(`${uri} names no unix socket`);
  return path;
}

interface Pending {
  /** Bytes of data that a good reply has. */
  readonly bytes: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class NbdClient {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #opened: Promise<void>;
  #settleOpening: { readonly resolve: () => void; readonly reject: (error: Error) => void };
  #stage: 'greeting' | 'export' | 'transmission' = 'greeting';
  #sizeBytes = 0;
  #input: Buffer = EMPTY;
  #requests = 0;
  #ended: NbdConnectionError | undefined;

  private constructor(path: string) {
    const { promise, resolve, reject } = withResolvers();
    this.#opened = promise;
    this.#settleOpening = { resolve, reject };
    this.#socket = connect(path);
    this.#socket.on('data', (chunk: Buffer) => this.#feed(chunk));
    this.#socket.on('error', (error) => this.#end(error.message));
    this.#socket.on('close', () => this.#end('the server has closed the connection'));
  }

  /** Opens the server's default export. Errors: NbdConnectionError. */
  static async connect(path: string): Promise<NbdClient> {
    const client = new NbdClient(path);
    await client.#opened;
    return client;
  }

  /** Of the export. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Requests without an answer. */
  get outstanding(): number {
    return this.#pending.size;
  }

  /** Errors of all requests: NbdRequestError, NbdConnectionError. */
  read(offset: number, bytes: number): Promise<Buffer> {
    return this.#request(CMD.read, 0, offset, bytes, EMPTY, bytes);
  }

  /** `flags`: of CMD_FLAG. */
  async write(offset: number, data: Buffer, flags = 0): Promise<void> {
    await this.#request(CMD.write, flags, offset, data.length, data, 0);
  }

  async flush(): Promise<void> {
    await this.#request(CMD.flush, 0, 0, 0, EMPTY, 0);
  }

  async trim(offset: number, bytes: number): Promise<void> {
    await this.#request(CMD.trim, 0, offset, bytes, EMPTY, 0);
  }

  async writeZeroes(offset: number, bytes: number, flags: (typeof CMD_FLAG)[keyof typeof CMD_FLAG] | 0 = 0) {
    await this.#request(CMD.writeZeroes, flags, offset, bytes, EMPTY, 0);
  }

  /** Says goodbye; what has no answer yet is rejected. */
  close(): void {
    this.#socket.end(header(CMD.disconnect, 0, 0, 0, 0));
    this.#end('closed by its user');
  }

  /** As if this process had died. */
  destroy(): void {
    this.#socket.destroy();
    this.#end('cut off by its user');
  }

  #request(
    command: number,
    flags: number,
    offset: number,
    length: number,
    data: Buffer,
    bytes: number,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      const number = ++this.#requests;
      this.#pending.set(number, { bytes, resolve, reject });
      this.#socket.cork();
      this.#socket.write(header(command, flags, number, offset, length));
      if (data.length > 0) this.#socket.write(data);
      process.nextTick(() => this.#socket.uncork());
    });
  }

  #feed(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    let taken = 0;
    while (this.#ended === undefined) {
      const bytes = this.#next(this.#input.subarray(taken));
      if (bytes === 0) break;
      taken += bytes;
    }
    this.#input = this.#input.subarray(taken);
  }

  /** Handles what `input` begins with and returns its length; 0 if it is not there whole. */
  #next(input: Buffer): number {
    switch (this.#stage) {
      case 'greeting':
        return this.#onGreeting(input);
      case 'export':
        return this.#onExport(input);
      case 'transmission':
        return this.#onReply(input);
    }
  }

  #onGreeting(input: Buffer): number {
    if (input.length < GREETING_BYTES) return 0;
    if (!input.subarray(0, 16).equals(Buffer.concat([MAGIC_GREETING, MAGIC_OPTION]))) {
      this.#end('no NBD server of the new style');
      return 0;
    }
    const answer = Buffer.alloc(4 + OPTION_HEADER_BYTES);
    answer.writeUInt32BE(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    MAGIC_OPTION.copy(answer, 4);
    answer.writeUInt32BE(OPT.exportName, 12);
    this.#socket.write(answer);
    this.#stage = 'export';
    return GREETING_BYTES;
  }

  #onExport(input: Buffer): number {
    if (input.length < EXPORT_BYTES) return 0;
    this.#sizeBytes = Number(input.readBigUInt64BE());
    this.#stage = 'transmission';
    this.#settleOpening.resolve();
    return EXPORT_BYTES;
  }

  #onReply(input: Buffer): number {
    if (input.length < REPLY_BYTES) return 0;
    const code = input.readUInt32BE(4);
    const number = Number(input.readBigUInt64BE(8));
    const pending = this.#pending.get(number);
    if (input.readUInt32BE() !== MAGIC_SIMPLE_REPLY || pending === undefined) {
      this.#end('not a reply to any request');
      return 0;
    }
    const bytes = REPLY_BYTES + (code === 0 ? pending.bytes : 0);
    if (input.length < bytes) return 0;
    this.#pending.delete(number);
    if (code === 0) pending.resolve(input.subarray(REPLY_BYTES, bytes));
    else pending.reject(new NbdRequestError(code));
    return bytes;
  }

  #end(detail: string): void {
    this.#ended ??= new NbdConnectionError(detail);
    this.#socket.destroySoon();
    this.#settleOpening.reject(this.#ended);
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(this.#ended);
  }
}

function header(command: number, flags: number, number: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(REQUEST_BYTES);
  bytes.writeUInt32BE(MAGIC_REQUEST);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(BigInt(number), 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

function withResolvers(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve = (): void => {};
  let reject = (_error: Error): void => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
