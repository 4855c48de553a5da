import { createSecureContext, type SecureContext } from 'node:tls';
import type { PeerEnvelope } from '../../core/messages.js';
import type { Clock, Random } from '../../core/ports.js';
import type { Lender } from '../../core/record.js';
import type { NodeId } from '../../core/types.js';
import type { Endpoint } from '../config.js';
import type { Logger } from '../log.js';
import type { TlsIdentity } from '../pki/index.js';
import type { Connection } from './connection.js';
import type { DialOptions } from './dial.js';
import { Peer } from './peer.js';
import { ReplicationServer, tlsOptions } from './server.js';
import { type OpenTarget, Sessions, serveSession } from './sessions.js';
import type { TransportSettings } from './settings.js';
import type { EncodedFrame } from './wire-fields.js';
import { decodePeerMessage } from './wire-peer.js';

export interface NetworkEvents {
  peerUp(node: NodeId): void;
  peerDown(node: NodeId): void;
  message(envelope: PeerEnvelope): void;
  request(node: NodeId, method: string, args: unknown): Promise<unknown>;
}

export interface NetworkOptions {
  readonly self: NodeId;
  readonly cluster: string;
  readonly identity: TlsIdentity;
  readonly bind: Endpoint;
  /** Where a node listens, from its record; undefined if it is not known. */
  readonly address: (node: NodeId) => Endpoint | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: TransportSettings;
  readonly logger: Logger;
  readonly events: NetworkEvents;
  readonly openSession: OpenTarget;
  /** Where the payloads that arrive may be put; absent: ordinary memory. */
  readonly lend?: Lender | undefined;
}

/** Everything that this node says to others, and hears from them, on the replication port. */
export class ReplicationNetwork {
  readonly sessions: Sessions;
  readonly #options: NetworkOptions;
  readonly #server: ReplicationServer;
  readonly #peers = new Map<NodeId, Peer>();
  /** Sessions of other nodes' frontends. */
  readonly #served = new Set<Connection>();
  #secureContext: SecureContext;
  #stopped = false;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#secureContext = createSecureContext(tlsOptions(options.identity));
    const { self, cluster, clock, settings, logger, lend } = options;
    this.sessions = new Sessions({
      self,
      dial: () => this.#dialOptions(),
      address: options.address,
      open: options.openSession,
    });
    this.#server = new ReplicationServer(options.identity, {
      self,
      cluster,
      clock,
      settings,
      logger,
      lend,
      admit: (node) => this.#peer(node).admit(self),
      peer: (node, connection) => this.#peer(node).accept(connection),
      session: (_node, purpose, connection) => {
        this.#served.add(connection);
        serveSession(connection, purpose, options.openSession, () => this.#served.delete(connection));
      },
    });
  }

  /** Listens. Returns the address, for a port that was chosen by the system. Errors: those of `ReplicationServer`. */
  start(): Promise<Endpoint> {
    return this.#server.listen(this.#options.bind);
  }

  /** For a renewed certificate: new connections use it, those that exist go on. */
  setIdentity(identity: TlsIdentity): void {
    this.#secureContext = createSecureContext(tlsOptions(identity));
    this.#server.setIdentity(identity);
  }

  isUp(node: NodeId): boolean {
    return this.#peers.get(node)?.up ?? false;
  }

  /** Of the protocol that both ends speak; 0 while the node is not up. */
  version(node: NodeId): number {
    return this.#peers.get(node)?.version ?? 0;
  }

  /** Drops the frame if the node is not up. */
  send(node: NodeId, frame: EncodedFrame): void {
    this.#peers.get(node)?.send(frame);
  }

  /** Errors: PeerUnreachableError; DomainError as the other node answers. */
  request(node: NodeId, method: string, args: unknown, timeoutMs: number): Promise<unknown> {
    return this.#peer(node).request(method, args, timeoutMs);
  }

  /** The nodes with which a connection is to be kept. */
  setInterest(nodes: ReadonlySet<NodeId>): void {
    for (const [node, peer] of this.#peers) if (!nodes.has(node)) peer.interest = false;
    for (const node of nodes) this.#peer(node).interest = true;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const peer of this.#peers.values()) peer.stop();
    for (const connection of [...this.#served]) connection.destroy('this node stops');
    await this.#server.close();
  }

  #peer(node: NodeId): Peer {
    let peer = this.#peers.get(node);
    if (peer === undefined) {
      const { clock, random, settings, logger, events, address } = this.#options;
      peer = new Peer({
        node,
        dial: () => this.#dialOptions(),
        clock,
        random,
        settings,
        address: () => address(node),
        events: {
          up: () => {
            logger.info({ peer: node }, 'peer is up');
            events.peerUp(node);
          },
          down: (reason, needed) => {
            logger[needed ? 'warn' : 'info']({ peer: node, reason }, 'peer is down');
            if (!this.#stopped) events.peerDown(node);
          },
          message: (frame) => events.message(decodePeerMessage(frame, node)),
          request: (method, args) => events.request(node, method, args),
        },
      });
      this.#peers.set(node, peer);
    }
    return peer;
  }

  #dialOptions(): DialOptions {
    const { self, cluster, clock, settings, bind, lend } = this.#options;
    const anyAddress = bind.host === '0.0.0.0' || bind.host === '::';
    return {
      self,
      cluster,
      clock,
      settings,
      lend,
      secureContext: this.#secureContext,
      ...(!anyAddress && { localAddress: bind.host }),
    };
  }
}
