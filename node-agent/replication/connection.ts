import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../../core/ports.js';
import type { Lender } from '../../core/record.js';
import { Outbox } from './outbox.js';
import type { TransportSettings } from './settings.js';
import { readInto } from './tls-reading.js';
import { FRAME, type Frame, FrameParser, WireError } from './wire.js';
import { type EncodedFrame, HeadWriter } from './wire-fields.js';

export interface ConnectionHandlers {
  /** A frame that is not a ping; what is leased is valid until the call ends. What it throws closes the connection. */
  frame(frame: Frame): void;
  /** Once, after which nothing follows. */
  closed(reason: string): void;
}

const PING = new HeadWriter(0).seal(FRAME.ping);
const PONG = new HeadWriter(0).seal(FRAME.pong);

/**
 * Frames over a byte stream, kept alive by pings. The handlers can be exchanged while the connection is being
 * introduced.
 */
export class Connection {
  /** Of the protocol, as both ends agreed on it; 0 before the introduction. */
  version = 0;
  readonly #socket: TLSSocket;
  readonly #clock: Clock;
  readonly #settings: TransportSettings;
  readonly #parser = new FrameParser();
  readonly #outbox: Outbox;
  #handlers: ConnectionHandlers;
  #closed = false;
  #timer: Timer;
  #lastHeard: number;
  #lastTick: number;

  constructor(socket: TLSSocket, clock: Clock, settings: TransportSettings, handlers: ConnectionHandlers) {
    this.#socket = socket;
    this.#outbox = new Outbox(socket);
    this.#clock = clock;
    this.#settings = settings;
    this.#handlers = handlers;
    this.#lastHeard = clock.now();
    this.#lastTick = this.#lastHeard;
    this.#timer = clock.after(settings.pingMs, this.#tick);
    readInto(socket, {
      target: () => this.#parser.target(),
      received: (target, length) => {
        this.#receive(() => this.#parser.received(target, length));
        return true;
      },
    });
    socket.on('data', this.#receiveChunk);
    socket.on('error', (error) => this.#end(error.message));
    socket.on('end', () => this.#end('closed by the other end'));
    socket.on('close', () => {
      this.#end('closed by the other end');
      // Nothing is read or written any more.
      this.#outbox.clear();
      this.#parser.end();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  set handlers(handlers: ConnectionHandlers) {
    this.#handlers = handlers;
  }

  /** Where the payloads that arrive may be put. */
  set lend(lend: Lender) {
    this.#parser.lend = lend;
  }

  /** Never blocks and never throws: after a failure, `closed` is called in another turn. */
  send(frame: EncodedFrame): void {
    if (this.#closed) return;
    this.#outbox.add(frame);
    if (this.#outbox.bytes > this.#settings.maxQueueBytes) {
      queueMicrotask(() => this.#end(`${this.#outbox.bytes} bytes wait to be sent`));
    }
  }

  /** Sends what is queued, then closes. `closed` is not called. */
  finish(): void {
    if (this.#closed) return;
    this.#release();
    this.#outbox.end();
    const timer = this.#clock.after(this.#settings.dialTimeoutMs, () => this.#socket.destroy());
    this.#socket.once('close', () => timer.cancel());
  }

  /** Closes at once. `closed` is called before this returns. */
  destroy(reason: string): void {
    this.#end(reason);
  }

  readonly #receiveChunk = (chunk: Buffer): void => this.#receive(() => this.#parser.push(chunk));

  #receive(cut: () => Frame[]): void {
    if (this.#closed) return;
    this.#lastHeard = this.#clock.now();
    try {
      for (const frame of cut()) this.#take(frame);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#end(`protocol error (${error.kind}): ${error.message}`);
    }
  }

  #take(frame: Frame): void {
    try {
      if (this.#closed) return;
      if (frame.type === FRAME.ping) this.send(PONG);
      else if (frame.type !== FRAME.pong) this.#handlers.frame(frame);
    } finally {
      frame.lease?.release();
    }
  }

  readonly #tick = (): void => {
    const now = this.#clock.now();
    const { pingMs, silenceMs } = this.#settings;
    // A late timer means that this process stood still, and may have bytes waiting that it hasn't read: the
    // other end gets the time of one more ping to be heard.
    if (now - this.#lastTick > 2 * pingMs) {
      this.#lastHeard = Math.max(this.#lastHeard, now - silenceMs + pingMs);
    }
    this.#lastTick = now;
    if (now - this.#lastHeard >= silenceMs) {
      this.#end(`silent for ${Math.round(now - this.#lastHeard)} ms`);
      return;
    }
    this.send(PING);
    this.#timer = this.#clock.after(pingMs, this.#tick);
  };

  #release(): void {
    this.#closed = true;
    this.#timer.cancel();
    this.#socket.off('data', this.#receiveChunk);
    this.#parser.stop();
    // Unread bytes would keep the stream from ending.
    this.#socket.resume();
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.#release();
    this.#socket.destroy();
    this.#handlers.closed(reason);
  }
}
