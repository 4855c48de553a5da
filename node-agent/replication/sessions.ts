/** Sessions between frontends and primaries: over their own connection, or in this process. */

import type { FrontendMessage, OpenSession, SessionMessage } from '../../core/messages.js';
import type { SessionChannel, SessionConnector, SessionEvents, SessionLink } from '../../core/ports.js';
import { release, retain } from '../../core/record.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import type { Endpoint } from '../config.js';
import type { Connection } from './connection.js';
import { Dial, type DialOptions } from './dial.js';
import type { EncodedFrame } from './wire-fields.js';
import {
  decodeFrontendMessage,
  decodeSessionMessage,
  encodeFrontendMessage,
  encodeSessionMessage,
} from './wire-session.js';

/** The side of the primary: what arrives for a local deployment. */
export interface SessionTarget {
  open(link: SessionLink, message: OpenSession): void;
  message(link: SessionLink, message: Exclude<FrontendMessage, OpenSession>): void;
  closed(link: SessionLink): void;
}

/** Makes the primary's side of a session. `end` closes the session from there. */
export type OpenTarget = (address: SessionAddress, end: (reason: string) => void) => SessionTarget;

export interface SessionAddress {
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
}

function deliver(target: SessionTarget, link: SessionLink, message: FrontendMessage): void {
  if (message.type === 'open') target.open(link, message);
  else target.message(link, message);
}

/** Hands what a frontend on another node sends to the deployment that it asked for, until the connection ends. */
export function serveSession(
  connection: Connection,
  address: SessionAddress,
  open: OpenTarget,
  ended: () => void,
): void {
  const target = open(address, (reason) => connection.destroy(reason));
  const link: SessionLink = {
    send: (message) => connection.send(encodeSessionMessage(message)),
    get closed() {
      return connection.closed;
    },
  };
  connection.handlers = {
    frame: (frame) => deliver(target, link, decodeFrontendMessage(frame)),
    closed: () => {
      ended();
      target.closed(link);
    },
  };
}

/** Messages before the connection is there; the frontend's own window is smaller. */
const MAX_EARLY_MESSAGES = 1024;

/** The frame without a lease: what waits for a connection is little and rare. */
function owned(frame: EncodedFrame): EncodedFrame {
  return frame.lease === undefined ? frame : { head: frame.head, payload: Buffer.from(frame.payload) };
}

/** A session with a primary on another node. */
class RemoteSession implements SessionChannel {
  readonly #events: SessionEvents;
  readonly #dial: Dial;
  #early: EncodedFrame[] = [];
  #connection: Connection | undefined;
  #closed = false;

  constructor(options: DialOptions, node: NodeId, at: Endpoint, address: SessionAddress, events: SessionEvents) {
    this.#events = events;
    const purpose = { kind: 'session', volume: address.volume, deployment: address.deployment } as const;
    this.#dial = new Dial(options, node, at, purpose, {
      welcome: (connection) => this.#welcome(connection),
      failed: (reason) => this.#end(reason),
    });
  }

  send(message: FrontendMessage): void {
    if (this.#closed) return;
    const frame = encodeFrontendMessage(message);
    if (this.#connection !== undefined) this.#connection.send(frame);
    else if (this.#early.length < MAX_EARLY_MESSAGES) this.#early.push(owned(frame));
    else {
      this.#dial.cancel();
      queueMicrotask(() => this.#end('too many messages before the session was open'));
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dial.cancel();
    this.#connection?.finish();
  }

  #welcome(connection: Connection): void {
    this.#connection = connection;
    connection.handlers = {
      frame: (frame) => {
        if (!this.#closed) this.#events.message(decodeSessionMessage(frame));
      },
      closed: (reason) => this.#end(reason),
    };
    for (const frame of this.#early) connection.send(frame);
    this.#early = [];
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection?.destroy(reason);
    this.#events.closed(reason);
  }
}

/**
 * A session with a primary in this process. Messages are delivered in a turn of their own, never from within
 * `send`; batches are passed on as they are, as nobody changes them, and held meanwhile.
 */
class LocalSession implements SessionChannel {
  readonly #target: SessionTarget;
  readonly #events: SessionEvents;
  readonly #link: SessionLink;
  #toPrimary: FrontendMessage[] = [];
  #toFrontend: SessionMessage[] = [];
  #closed = false;
  #scheduled = false;

  constructor(open: OpenTarget, address: SessionAddress, events: SessionEvents) {
    this.#events = events;
    this.#target = open(address, (reason) => this.#end(reason));
    const closed = (): boolean => this.#closed;
    this.#link = {
      send: (message) => {
        if (this.#closed) return;
        if (message.type === 'data') retain(message.batch);
        this.#toFrontend.push(message);
        this.#schedule();
      },
      get closed() {
        return closed();
      },
    };
  }

  send(message: FrontendMessage): void {
    if (this.#closed) return;
    if (message.type === 'write') retain(message.batch);
    this.#toPrimary.push(message);
    this.#schedule();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    queueMicrotask(() => this.#target.closed(this.#link));
  }

  /** From the primary's side. */
  #end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    queueMicrotask(() => {
      this.#target.closed(this.#link);
      this.#events.closed(reason);
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      const requests = this.#toPrimary;
      const replies = this.#toFrontend;
      this.#toPrimary = [];
      this.#toFrontend = [];
      for (const message of replies) {
        if (!this.#closed) this.#events.message(message);
        if (message.type === 'data') release(message.batch);
      }
      for (const message of requests) {
        if (!this.#closed) deliver(this.#target, this.#link, message);
        if (message.type === 'write') release(message.batch);
      }
    });
  }
}

export interface SessionsOptions {
  readonly self: NodeId;
  readonly dial: () => DialOptions;
  readonly address: (node: NodeId) => Endpoint | undefined;
  readonly open: OpenTarget;
}

/** Connects this node's frontends to primaries. */
export class Sessions implements SessionConnector {
  readonly #options: SessionsOptions;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  connect(target: SessionAddress & { readonly node: NodeId }, events: SessionEvents): SessionChannel {
    const { self, dial, address, open } = this.#options;
    if (target.node === self) return new LocalSession(open, target, events);
    const endpoint = address(target.node);
    if (endpoint === undefined) return unreachable(`the address of node ${target.node} is not known`, events);
    return new RemoteSession(dial(), target.node, endpoint, target, events);
  }
}

function unreachable(reason: string, events: SessionEvents): SessionChannel {
  let closed = false;
  queueMicrotask(() => {
    if (!closed) events.closed(reason);
  });
  return {
    send: () => {},
    close: () => {
      closed = true;
    },
  };
}
