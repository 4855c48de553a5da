import { DomainError } from '../../core/errors.js';
import type { Clock, Random, Timer } from '../../core/ports.js';
import type { NodeId } from '../../core/types.js';
import type { Endpoint } from '../config.js';
import type { Connection } from './connection.js';
import { Dial, type DialOptions } from './dial.js';
import { PeerUnreachableError } from './errors.js';
import { decodeRequest, decodeResponse, encodeFailure, encodeRequest, encodeResult } from './rpc.js';
import type { TransportSettings } from './settings.js';
import { FRAME, type Frame } from './wire.js';
import type { EncodedFrame } from './wire-fields.js';

export interface PeerEvents {
  up(): void;
  /** `needed`: somebody wants the connection; else it may have been closed for that nobody does. */
  down(reason: string, needed: boolean): void;
  /** A message between deployments. Errors: WireError closes the connection. */
  message(frame: Frame): void;
  /** What it throws is the answer. */
  request(method: string, args: unknown): Promise<unknown>;
}

export interface PeerOptions {
  readonly node: NodeId;
  readonly dial: () => DialOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: TransportSettings;
  readonly address: () => Endpoint | undefined;
  readonly events: PeerEvents;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
  /** Not sent yet: waits for a connection. */
  frame: EncodedFrame | undefined;
}

/**
 * One other node. Between two nodes there is one connection, whoever dialled it, so that both learn of every
 * break and a lost message always shows as a break on either side. If both dial at once, the one of the
 * lower node id stays.
 */
export class Peer {
  readonly #options: PeerOptions;
  readonly #pending = new Map<number, Pending>();
  #connection: Connection | undefined;
  #dial: Dial | undefined;
  #introduced = false;
  #retry: Timer | undefined;
  #backoffMs: number;
  #interest = false;
  #lastUsed: number;
  #nextRequest = 1;
  #answering = 0;
  #idle: Timer | undefined;
  #dialled = false;
  #stopped = false;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#backoffMs = options.settings.backoffMinMs;
    this.#lastUsed = options.clock.now();
  }

  get up(): boolean {
    return this.#connection !== undefined;
  }

  /** Of the protocol on the present connection; 0 without one. */
  get version(): number {
    return this.#connection?.version ?? 0;
  }

  /** While there is interest, the connection is made and made again. */
  set interest(interest: boolean) {
    this.#interest = interest;
    if (interest) this.#connect();
  }

  /** Drops the message if there is no connection. */
  send(frame: EncodedFrame): void {
    this.#lastUsed = this.#options.clock.now();
    this.#connection?.send(frame);
  }

  /**
   * The answer to a request. Errors: PeerUnreachableError when no connection can be made, when it breaks, or when
   * the time is over; else what the other node says went wrong.
   */
  request(method: string, args: unknown, timeoutMs: number): Promise<unknown> {
    const { node, clock, settings } = this.#options;
    if (this.#stopped) return Promise.reject(new PeerUnreachableError(node, 'this node stops'));
    if (this.#pending.size >= settings.maxPendingRequests) {
      return Promise.reject(new PeerUnreachableError(node, `${this.#pending.size} requests wait for it already`));
    }
    const id = this.#nextRequest++;
    const frame = encodeRequest(id, method, args);
    return new Promise((resolve, reject) => {
      const timer = clock.after(timeoutMs, () => {
        this.#pending.delete(id);
        reject(new PeerUnreachableError(node, `no answer to ${method} within ${timeoutMs} ms`));
      });
      this.#pending.set(id, { resolve, reject, timer, frame });
      if (this.up) this.#sendPending();
      else this.#connect();
    });
  }

  /** Whether a connection that this peer opened is to be taken. */
  admit(self: NodeId): 'welcome' | 'duplicate' {
    return this.#introduced && self < this.#options.node ? 'duplicate' : 'welcome';
  }

  /** A connection that is introduced; an older one gives way. */
  accept(connection: Connection, dialled = false): void {
    this.#cancelDial();
    this.#connection?.destroy('replaced by a new connection');
    this.#connection = connection;
    this.#dialled = dialled;
    this.#backoffMs = this.#options.settings.backoffMinMs;
    this.#lastUsed = this.#options.clock.now();
    connection.handlers = {
      frame: (frame) => this.#frame(frame),
      closed: (reason) => this.#lost(connection, reason),
    };
    this.#watchIdle();
    this.#sendPending();
    this.#options.events.up();
  }

  stop(): void {
    this.#stopped = true;
    this.#interest = false;
    this.#cancelDial();
    this.#failPending('this node stops');
    const connection = this.#connection;
    this.#connection = undefined;
    this.#idle?.cancel();
    connection?.finish();
  }

  #connect(): void {
    if (this.#stopped || this.up || this.#dial !== undefined || this.#retry !== undefined) return;
    const address = this.#options.address();
    if (address === undefined) {
      this.#failPending('its address is not known');
      this.#retryLater();
      return;
    }
    this.#introduced = false;
    this.#dial = new Dial(
      this.#options.dial(),
      this.#options.node,
      address,
      { kind: 'peer' },
      {
        introduced: () => {
          this.#introduced = true;
        },
        welcome: (connection) => {
          this.#dial = undefined;
          this.accept(connection, true);
        },
        failed: (reason, goodbye) => {
          this.#dial = undefined;
          this.#introduced = false;
          // Not a failure: the other node's own connection is on its way.
          if (goodbye !== 'duplicate') this.#failPending(reason);
          this.#retryLater();
        },
      },
    );
  }

  #retryLater(): void {
    if (this.#stopped || this.#retry !== undefined) return;
    if (!this.#interest && this.#pending.size === 0) return;
    const { clock, random, settings } = this.#options;
    const delayMs = this.#backoffMs * (0.5 + random.next() / 2);
    this.#backoffMs = Math.min(this.#backoffMs * 2, settings.backoffMaxMs);
    this.#retry = clock.after(delayMs, () => {
      this.#retry = undefined;
      this.#connect();
    });
  }

  #cancelDial(): void {
    this.#dial?.cancel();
    this.#dial = undefined;
    this.#introduced = false;
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  #lost(connection: Connection, reason: string): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#idle?.cancel();
    const needed = this.#interest || this.#pending.size > 0;
    this.#failPending(reason);
    this.#options.events.down(reason, needed);
    this.#retryLater();
  }

  #failPending(reason: string): void {
    for (const [id, pending] of this.#pending) {
      this.#pending.delete(id);
      pending.timer.cancel();
      pending.reject(new PeerUnreachableError(this.#options.node, reason));
    }
  }

  #sendPending(): void {
    for (const pending of this.#pending.values()) {
      if (pending.frame === undefined) continue;
      this.send(pending.frame);
      pending.frame = undefined;
    }
  }

  #frame(frame: Frame): void {
    this.#lastUsed = this.#options.clock.now();
    if (frame.type === FRAME.request) {
      void this.#answer(decodeRequest(frame));
      return;
    }
    if (frame.type !== FRAME.response) {
      this.#options.events.message(frame);
      return;
    }
    const response = decodeResponse(frame);
    const pending = this.#pending.get(response.id);
    // None: it came too late.
    if (pending === undefined) return;
    this.#pending.delete(response.id);
    pending.timer.cancel();
    if ('error' in response) pending.reject(response.error);
    else pending.resolve(response.result);
  }

  async #answer(request: { id: number; method: string; args: unknown }): Promise<void> {
    const { events, settings } = this.#options;
    const connection = this.#connection;
    let answer: EncodedFrame;
    this.#answering += 1;
    try {
      if (this.#answering > settings.maxPendingRequests) {
        throw new DomainError('node-unavailable', `${settings.maxPendingRequests} requests are being answered`);
      }
      answer = encodeResult(request.id, await events.request(request.method, request.args));
    } catch (error) {
      answer = encodeFailure(request.id, error);
    } finally {
      this.#answering -= 1;
    }
    connection?.send(answer);
  }

  /** Whoever dialled a connection that nobody needs closes it. */
  #watchIdle(): void {
    this.#idle?.cancel();
    const { clock, settings } = this.#options;
    this.#idle = clock.after(settings.idleMs, () => {
      const idle = clock.now() - this.#lastUsed >= settings.idleMs && this.#pending.size === 0;
      if (idle && this.#dialled && !this.#interest) this.#connection?.destroy('not needed any more');
      else this.#watchIdle();
    });
  }
}
