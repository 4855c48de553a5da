import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { DomainError } from '../../core/errors.js';
import { Swim } from '../../core/gossip/swim.js';
import {
  DEFAULT_GOSSIP_SETTINGS,
  type GossipMessage,
  type GossipSettings,
  type Member,
  type MemberInfo,
  type MemberState,
  type MemberStatus,
} from '../../core/gossip/types.js';
import type { Clock, Random } from '../../core/ports.js';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../config.js';
import { deriveKey } from '../keys/index.js';
import type { Logger } from '../log.js';
import { decodeMessage, encodeMessage, measureUpdate } from './datagram.js';
import { Sealer } from './sealing.js';

export interface GossipOptions {
  readonly node: MemberInfo['node'];
  readonly name: string;
  /** Where others reach this node, host:port. */
  readonly addresses: { readonly io: string; readonly api: string; readonly gossip?: string };
  readonly bind: Endpoint;
  /** Members to join through; this node's own address among them does no harm. */
  readonly seeds: readonly Endpoint[];
  readonly clusterKey: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** `before` is undefined for a member that was not known. */
  readonly changed: (member: Member, before: MemberStatus | undefined) => void;
  readonly settings?: Partial<GossipSettings>;
}

/** This node's part in the cluster's gossip, over UDP. */
export class Gossip {
  readonly #socket: Socket;
  readonly #sealer: Sealer;
  readonly #swim: Swim;
  readonly #logger: Logger;
  readonly counters = { sent: 0, received: 0, refused: 0, failed: 0, deaths: 0 };
  #closed = false;

  /** Errors: DomainError('in-use' | 'invalid') if the address cannot be listened on. */
  static async start(options: GossipOptions): Promise<Gossip> {
    const socket = createSocket({ type: isIPv6(options.bind.host) ? 'udp6' : 'udp4' });
    await listen(socket, options.bind);
    return new Gossip(socket, options);
  }

  private constructor(socket: Socket, options: GossipOptions) {
    const { node, name, addresses, bind, clock, random, logger, changed } = options;
    this.#socket = socket;
    this.#logger = logger;
    this.#sealer = new Sealer(deriveKey(options.clusterKey, 'gossip'));
    const own = addresses.gossip ?? formatEndpoint({ host: bind.host, port: socket.address().port });
    this.#swim = new Swim({
      self: { node, name, addresses: { io: addresses.io, api: addresses.api, gossip: own } },
      // The next life's number is higher, if the clock doesn't go back; if it does, refutation mends it.
      incarnation: Date.parse(clock.timestamp()),
      settings: { ...DEFAULT_GOSSIP_SETTINGS, ...options.settings },
      clock,
      random,
      measure: measureUpdate,
      send: (address, message) => this.#send(address, message),
      changed: (member, before) => {
        if (member.status === 'dead') this.counters.deaths++;
        logger.info({ member: member.node, name: member.name, status: member.status, before }, 'gossip');
        changed(member, before);
      },
    });
    socket.on('message', (datagram, from) => this.#receive(datagram, from));
    socket.on('error', (error) => logger.warn({ err: error }, 'gossip socket'));
    this.#swim.start(options.seeds.map(formatEndpoint));
  }

  /** host:port that this node is known by. */
  get address(): string {
    return this.#swim.members()[0]?.addresses.gossip ?? '';
  }

  /** With this node itself, which comes first. */
  members(): Member[] {
    return this.#swim.members();
  }

  /** 0: well. Higher: this node finds itself slow, and gives others more time. */
  get healthScore(): number {
    return this.#swim.health.score;
  }

  /** What this node tells of itself from now on. */
  tell(state: MemberState): void {
    this.#swim.tell(state);
  }

  /** Tells the others that this node goes, then closes. */
  async leave(): Promise<void> {
    if (this.#closed) return;
    this.#swim.leave();
    await this.#close();
  }

  /** Closes without a word, as a crash would. */
  async stop(): Promise<void> {
    if (this.#closed) return;
    this.#swim.stop();
    await this.#close();
  }

  #close(): Promise<void> {
    this.#closed = true;
    // Datagrams that were handed over just now are sent before the socket closes.
    return new Promise((resolve) => setImmediate(() => this.#socket.close(() => resolve())));
  }

  #send(address: string, message: GossipMessage): void {
    let to: Endpoint;
    try {
      to = parseEndpoint(address);
    } catch {
      this.counters.failed += 1;
      return;
    }
    this.counters.sent += 1;
    this.#socket.send(this.#sealer.seal(encodeMessage(message)), to.port, to.host, (error) => {
      // Gossip lives with loss; a network that is down shows in the members' states.
      if (error !== null) this.counters.failed += 1;
    });
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    if (this.#closed) return;
    this.counters.received += 1;
    const plain = this.#sealer.open(datagram);
    const message = plain === undefined ? undefined : decodeMessage(plain);
    if (message === undefined) {
      this.counters.refused += 1;
      this.#logger.debug({ from: from.address }, 'refused a datagram');
      return;
    }
    this.#swim.receive(message, formatEndpoint({ host: from.address, port: from.port }));
  }
}

function listen(socket: Socket, bind: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      socket.close();
      const where = formatEndpoint(bind);
      if (error.code === 'EADDRINUSE') {
        reject(
          new DomainError('in-use', `${where} is taken by another process (GOSSIP_BIND_ADDRESS)`, { cause: error }),
        );
      } else if (error.code === 'EADDRNOTAVAIL') {
        reject(
          new DomainError('invalid', `this machine has no address ${where} (GOSSIP_BIND_ADDRESS)`, { cause: error }),
        );
      } else reject(error);
    };
    socket.once('error', failed);
    socket.bind({ port: bind.port, address: bind.host }, () => {
      socket.off('error', failed);
      resolve();
    });
  });
}
