import { PROTOCOL_VERSION } from './wire.js';

/** Named limits and times of the replication network. */
export interface TransportSettings {
  /** A ping goes out this often on every connection. */
  readonly pingMs: number;
  /** Nothing heard for this long: the connection is closed, the peer is down. */
  readonly silenceMs: number;
  /** Time for TCP, TLS and the introduction together. */
  readonly dialTimeoutMs: number;
  /** Pause before the next attempt to reach a peer, doubled from the smallest to the largest. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** Bytes that may wait to be sent on one connection; beyond it, the other end counts as down. */
  readonly maxQueueBytes: number;
  /** A connection to a peer of no interest is closed after this long without a message. */
  readonly idleMs: number;
  /** Connections that a node accepts at once. 250 attachments on each of 7 nodes, and peers. */
  readonly maxConnections: number;
  /** Requests to and from one peer that may be without an answer. */
  readonly maxPendingRequests: number;
  /** The newest version of the protocol that is spoken, if the other end speaks it, too. */
  readonly newestVersion: number;
}

export const DEFAULT_TRANSPORT_SETTINGS: TransportSettings = {
  pingMs: 500,
  silenceMs: 2000,
  dialTimeoutMs: 2000,
  backoffMinMs: 50,
  backoffMaxMs: 500,
  maxQueueBytes: 128 << 20,
  idleMs: 60_000,
  maxConnections: 2048,
  maxPendingRequests: 256,
  newestVersion: PROTOCOL_VERSION,
};
