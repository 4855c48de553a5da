import type { Socket } from 'node:net';
import type { IoStatus } from '../../core/messages.js';
import type { Clock, Timer } from '../../core/ports.js';
import type { Lease } from '../../core/record.js';
import type { IoMemory } from '../codec/index.js';
import { Slab } from '../slab.js';
import { type Receiver, receiveDirectly } from './direct-socket.js';
import type { IoBudget } from './io-budget.js';
import { NbdHandshake } from './nbd-handshake.js';
import {
  CMD,
  CMD_FLAG,
  ERR,
  errorOf,
  MAX_REQUEST_BYTES,
  type NbdError,
  NbdProtocolError,
  TRANSMISSION,
} from './nbd-protocol.js';
import { dataHeader, dataReply, readErrorReply, statusReply } from './nbd-replies.js';
import { type NbdRequest, type NbdRequestHeader, NbdRequestParser, type Verdict } from './nbd-requests.js';
import type { Refusals } from './refusals.js';
import type { FrontendStats, OperationKind } from './stats.js';
import type { ByteDevice } from './volume-io.js';

/** A client that has not finished its handshake by then is cut off. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Answers waiting for a client that does not read; beyond, none of its requests is taken. */
export const MAX_UNREAD_REPLY_BYTES = 4 << 20;

export interface NbdConnectionOptions {
  /** Just accepted; nothing was read of it. */
  readonly socket: Socket;
  readonly exportName: string;
  readonly device: ByteDevice;
  readonly budget: IoBudget;
  readonly memory: IoMemory;
  readonly stats: FrontendStats;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly log: (level: 'info' | 'warn', message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly onClosed: () => void;
}

const KINDS: Readonly<Record<number, OperationKind>> = {
  [CMD.read]: 'read',
  [CMD.write]: 'write',
  [CMD.trim]: 'trim',
  [CMD.writeZeroes]: 'trim',
  [CMD.flush]: 'flush',
};

function kindOf({ command }: NbdRequestHeader): OperationKind {
  return KINDS[command] ?? 'flush';
}

/** Flags that a client may set on each command; FUA has no meaning on some but does no harm anywhere. */
const ALLOWED_FLAGS: Readonly<Record<number, number>> = {
  [CMD.read]: CMD_FLAG.fua | CMD_FLAG.df,
  [CMD.write]: CMD_FLAG.fua,
  [CMD.trim]: CMD_FLAG.fua,
  [CMD.writeZeroes]: CMD_FLAG.fua | CMD_FLAG.noHole | CMD_FLAG.fastZero,
  [CMD.flush]: CMD_FLAG.fua,
};

/** What an export of this device says of itself. A volume is one disk for all connections: FLUSH covers all. */
export function transmissionFlags(device: ByteDevice): number {
  const { hasFlags, readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, sendDf, canMultiConn, sendFastZero } =
    TRANSMISSION;
  const base = hasFlags | sendFlush | sendFua | sendDf | canMultiConn;
  return device.readOnly ? base | readOnly : base | sendTrim | sendWriteZeroes | sendFastZero;
}

/** From this length on the data of a READ's answer are sent from where they lie, behind a header of their own. */
const LONG_READ_BYTES = 16 * 1024;
const NO_DATA = Buffer.alloc(0);

interface Reply {
  readonly bytes: Buffer;
  /** Behind them; empty but for long reads. */
  readonly data: Buffer;
  /** Of whatever of it is leased: released when it has left. */
  readonly lease: Lease | undefined;
}

/** One with nothing behind its bytes. */
function shortReply(bytes: Buffer): Reply {
  return { bytes, data: NO_DATA, lease: undefined };
}

/**
 * One client on one socket. Everything that one read brings is parsed in one go; answers that are ready in the
 * same turn of the event loop leave in one write.
 */
export class NbdConnection implements Receiver {
  readonly #socket: Socket;
  readonly #device: ByteDevice;
  readonly #budget: IoBudget;
  readonly #memory: IoMemory;
  readonly #stats: FrontendStats;
  readonly #refusals: Refusals;
  readonly #clock: Clock;
  readonly #log: NbdConnectionOptions['log'];
  readonly #onClosed: () => void;
  readonly #handshake: NbdHandshake;
  readonly #handshakeTimeout: Timer;
  readonly #parser: NbdRequestParser;
  readonly #slab = new Slab();
  readonly #admit = (header: NbdRequestHeader): Verdict => this.#judge(header);
  #structured = false;
  /** Bytes that the parser's current request holds of the budget before it has been started. */
  #reserved: number | undefined;
  #waitsForBudget = false;
  #waitsForReader = false;
  #disconnecting = false;
  #closed = false;
  #inFlight = 0;
  #replies: Reply[] = [];
  #flushScheduled = false;

  constructor(options: NbdConnectionOptions) {
    this.#device = options.device;
    this.#budget = options.budget;
    this.#memory = options.memory;
    this.#parser = new NbdRequestParser(options.memory);
    this.#stats = options.stats;
    this.#refusals = options.refusals;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onClosed = options.onClosed;
    this.#handshake = new NbdHandshake({
      export: {
        name: options.exportName,
        sizeBytes: options.device.sizeBytes,
        flags: transmissionFlags(options.device),
        preferredBlockBytes: options.device.preferredBlockBytes,
      },
    });
    this.#handshakeTimeout = options.clock.after(HANDSHAKE_TIMEOUT_MS, () => this.#fail('handshake took too long'));
    this.#socket = receiveDirectly(options.socket, this);
    this.#socket.on('drain', () => this.#onDrain());
    this.#socket.on('error', (error) => this.#log('info', 'NBD socket failed', { error: error.message }));
    this.#socket.on('close', () => this.#onClose());
    this.#sendHandshake();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #sendHandshake(): void {
    for (const bytes of this.#handshake.takeOutput()) this.#replies.push(shortReply(bytes));
    this.#flushReplies();
  }

  #fail(reason: string): void {
    if (this.#closed) return;
    this.#log('warn', 'NBD client cut off', { reason });
    this.#socket.destroy();
  }

  target(): Buffer {
    return this.#handshake.state === 'transmission' ? this.#parser.target() : this.#memory.window;
  }

  received(target: Buffer, length: number): boolean {
    if (this.#disconnecting || this.#closed) return true;
    this.#guarded(() => {
      if (this.#handshake.state === 'negotiating') this.#negotiate(Buffer.from(target.subarray(0, length)));
      else this.#parser.received(target, length);
      if (this.#handshake.state === 'transmission') this.#parse();
    });
    return !this.#waitsForBudget && !this.#waitsForReader;
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!(error instanceof NbdProtocolError)) throw error;
      this.#fail(error.message);
    }
  }

  #negotiate(chunk: Buffer): void {
    this.#handshake.feed(chunk);
    this.#sendHandshake();
    if (this.#handshake.state === 'negotiating') return;
    this.#handshakeTimeout.cancel();
    this.#structured = this.#handshake.structuredReplies;
    if (this.#handshake.state === 'ended') this.#disconnect();
    else this.#parser.push(this.#handshake.takeRest());
  }

  #parse(): void {
    while (!this.#disconnecting && !this.#closed && !this.#waitsForBudget && !this.#waitsForReader) {
      const request = this.#parser.next(this.#admit);
      if (request === undefined) break;
      this.#start(request);
    }
    this.#parser.park();
  }

  /** What is to become of a request whose header is there. */
  #judge(header: NbdRequestHeader): Verdict {
    // Granted while it waited.
    if (this.#reserved !== undefined) return 'take';
    if (header.command === CMD.disconnect) return 'take';
    if (this.#problem(header) !== ERR.ok) return 'discard';
    if (this.#socket.writableLength > MAX_UNREAD_REPLY_BYTES) {
      this.#waitsForReader = true;
      return 'wait';
    }
    const bytes = header.command === CMD.read || header.command === CMD.write ? header.length : 0;
    if (this.#budget.acquire(bytes, () => this.#onGranted(bytes))) {
      this.#reserved = bytes;
      return 'take';
    }
    this.#waitsForBudget = true;
    return 'wait';
  }

  #onGranted(bytes: number): void {
    this.#waitsForBudget = false;
    if (this.#closed) {
      this.#budget.release(bytes);
      return;
    }
    this.#reserved = bytes;
    // Not within somebody else's release: the stack would grow with the number of waiters.
    setImmediate(() => this.#resume());
  }

  #onDrain(): void {
    if (!this.#waitsForReader) return;
    this.#waitsForReader = false;
    this.#resume();
  }

  #resume(): void {
    if (this.#closed || this.#disconnecting) return;
    this.#guarded(() => this.#parse());
    if (!this.#waitsForBudget && !this.#waitsForReader) this.#socket.resume();
  }

  /** Why a request is refused without being tried; ERR.ok if it is not. */
  #problem({ command, flags, offset, length }: NbdRequestHeader): NbdError {
    const allowed = ALLOWED_FLAGS[command];
    if (allowed === undefined || (flags & ~allowed) !== 0) return ERR.invalid;
    if (command === CMD.flush) return ERR.ok;
    const isRead = command === CMD.read;
    if (!isRead && this.#device.readOnly) return ERR.perm;
    if ((isRead || command === CMD.write) && length > MAX_REQUEST_BYTES) return ERR.invalid;
    if (offset + length > this.#device.sizeBytes) return isRead || command === CMD.trim ? ERR.invalid : ERR.noSpace;
    if ((flags & CMD_FLAG.fastZero) !== 0 && !this.#device.zeroesFast(offset, length)) return ERR.notSupported;
    return ERR.ok;
  }

  #start(request: NbdRequest): void {
    const { header, payload, lease } = request;
    if (header.command === CMD.disconnect) {
      this.#disconnect();
      return;
    }
    const reserved = this.#reserved;
    this.#reserved = undefined;
    if (reserved === undefined) {
      const error = this.#problem(header);
      // Zeroes that are to be fast only if they can be are how a client asks whether they can.
      if (error !== ERR.notSupported) this.#refusals.add(kindOf(header), 'malformed');
      this.#reply(this.#errorReply(header, error));
      return;
    }
    this.#inFlight++;
    const startedAtMs = this.#clock.now();
    const answered = (status: IoStatus, good: Reply): void => {
      this.#inFlight--;
      this.#count(header, status, startedAtMs);
      if (status === 'ok') {
        this.#reply(good);
      } else {
        good.lease?.release();
        this.#reply(this.#errorReply(header, errorOf(status)));
      }
      this.#budget.release(reserved);
      if (this.#disconnecting && this.#inFlight === 0) this.#endAfterReplies();
    };
    const failed = (error: unknown, lease?: Lease): void => {
      this.#log('warn', 'request failed', { command: header.command, error: String(error) });
      answered('io-error', { bytes: NO_DATA, data: NO_DATA, lease });
    };
    const { command, offset, length } = header;
    if (command !== CMD.read) {
      const done = (status: IoStatus): void => answered(status, shortReply(statusReply(header, ERR.ok, this.#slab)));
      this.#perform(header, payload, lease).then(done, failed);
    } else if (length < LONG_READ_BYTES) {
      const { reply, data, lease: held } = dataReply(header, this.#structured, this.#memory, this.#slab);
      const read = length === 0 ? Promise.resolve<IoStatus>('ok') : this.#device.read(offset, data);
      read.then(
        (status) => answered(status, { bytes: reply, data: NO_DATA, lease: held }),
        (error: unknown) => failed(error, held),
      );
    } else {
      this.#device.readLong(offset, length, this.#memory).then(({ status, data, lease: held }) => {
        answered(status, { bytes: dataHeader(header, this.#structured, this.#slab), data, lease: held });
      }, failed);
    }
  }

  #count(header: NbdRequestHeader, status: IoStatus, startedAtMs: number): void {
    const { command, length } = header;
    const kind = kindOf(header);
    const stats = this.#stats[kind];
    stats.operations++;
    stats.latency.observe((this.#clock.now() - startedAtMs) / 1000);
    if (status !== 'ok') {
      stats.errors++;
      this.#refusals.add(kind, status);
    } else if (command !== CMD.flush) stats.bytes += length;
  }

  #errorReply(header: NbdRequestHeader, error: NbdError): Reply {
    const bytes =
      header.command === CMD.read
        ? readErrorReply(header, error, this.#structured, this.#slab)
        : statusReply(header, error, this.#slab);
    return shortReply(bytes);
  }

  /** Anything but a READ. */
  #perform(header: NbdRequestHeader, payload: Buffer | undefined, lease: Lease | undefined): Promise<IoStatus> {
    const { command, offset, length } = header;
    const fua = (header.flags & CMD_FLAG.fua) !== 0;
    if (command === CMD.flush) return this.#device.flush();
    if (length === 0) return Promise.resolve('ok');
    switch (command) {
      case CMD.write:
        if (payload === undefined) return Promise.resolve('invalid');
        try {
          return this.#device.write(offset, payload, fua, lease);
        } finally {
          // Whoever needs the payload any longer holds it by now.
          lease?.release();
        }
      case CMD.trim:
        return this.#device.trim(offset, length, fua);
      default:
        // NO_HOLE asks for allocated zeroes; in a log every later write takes new space anyway, so none are kept.
        return this.#device.zero(offset, length, fua);
    }
  }

  #reply(reply: Reply): void {
    if (this.#closed) {
      reply.lease?.release();
      return;
    }
    this.#replies.push(reply);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => {
      this.#flushScheduled = false;
      this.#flushReplies();
    });
  }

  #flushReplies(): void {
    if (this.#closed || this.#replies.length === 0) return;
    const replies = this.#replies;
    this.#replies = [];
    this.#socket.cork();
    for (let i = 0; i < replies.length; ) {
      const { bytes, data, lease } = replies[i++]!;
      if (data.length > 0) {
        this.#socket.write(bytes);
        this.#socket.write(data, () => lease?.release());
        continue;
      }
      // Answers that lie one after the other leave as one piece.
      const first = i - 1;
      let end = bytes.byteOffset + bytes.length;
      for (; i < replies.length && follows(replies[i]!, bytes.buffer, end); i++) end += replies[i]!.bytes.length;
      const { buffer, byteOffset } = bytes;
      const whole = end === byteOffset + bytes.length ? bytes : Buffer.from(buffer, byteOffset, end - byteOffset);
      const after = i;
      // Of no bytes nothing would be heard any more.
      if (whole.length > 0) this.#socket.write(whole, () => releaseAll(replies, first, after));
    }
    this.#socket.uncork();
  }

  /** The client has said goodbye: what runs is finished and answered, nothing more is read. */
  #disconnect(): void {
    this.#disconnecting = true;
    if (this.#inFlight === 0) this.#endAfterReplies();
  }

  #endAfterReplies(): void {
    this.#flushReplies();
    this.#socket.end();
  }

  #onClose(): void {
    this.#closed = true;
    this.#handshakeTimeout.cancel();
    this.#parser.close();
    for (const { lease } of this.#replies) lease?.release();
    this.#replies = [];
    if (this.#reserved !== undefined) this.#budget.release(this.#reserved);
    this.#reserved = undefined;
    this.#onClosed();
  }
}

function releaseAll(replies: readonly Reply[], first: number, after: number): void {
  for (let i = first; i < after; i++) replies[i]!.lease?.release();
}

function follows({ bytes, data }: Reply, buffer: ArrayBufferLike, end: number): boolean {
  return data.length === 0 && bytes.buffer === buffer && bytes.byteOffset === end;
}
