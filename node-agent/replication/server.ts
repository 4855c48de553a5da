import { type AddressInfo, isIP } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';
import { DomainError } from '../../core/errors.js';
import type { Clock } from '../../core/ports.js';
import type { Lender } from '../../core/record.js';
import type { NodeId } from '../../core/types.js';
import type { Endpoint } from '../config.js';
import type { Logger } from '../log.js';
import { nodeOfRawCertificate, PkiError, type TlsIdentity } from '../pki/index.js';
import { Connection } from './connection.js';
import { commonVersion, decodeHello, encodeGoodbye, encodeWelcome, type Goodbye, type Purpose } from './hello.js';
import type { TransportSettings } from './settings.js';

/** Refused connections are logged no more often. */
const REFUSAL_LOG_INTERVAL_MS = 10_000;

export type SessionPurpose = Extract<Purpose, { kind: 'session' }>;

export interface ServerOptions {
  readonly self: NodeId;
  readonly cluster: string;
  readonly clock: Clock;
  readonly settings: TransportSettings;
  readonly logger: Logger;
  /** Where the payloads that arrive may be put; absent: ordinary memory. */
  readonly lend?: Lender | undefined;
  /** Whether a peer's connection is to be kept; if it is, `peer` follows at once. */
  readonly admit: (node: NodeId) => 'welcome' | 'duplicate';
  /** Both must set the connection's handlers before they return. */
  readonly peer: (node: NodeId, connection: Connection) => void;
  readonly session: (node: NodeId, purpose: SessionPurpose, connection: Connection) => void;
}

export function tlsOptions(identity: TlsIdentity): SecureContextOptions {
  return { ca: identity.ca, cert: identity.cert, key: identity.key, minVersion: 'TLSv1.3' };
}

/** Accepts connections of nodes that the cluster's authority vouches for, and learns who they are and what they want. */
export class ReplicationServer {
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  /** What the log has not said of refused connections, and from when on it says something again. */
  #refusals = { untold: 0, silentUntilMs: Number.NEGATIVE_INFINITY };

  constructor(identity: TlsIdentity, options: ServerOptions) {
    this.#options = options;
    this.#server = createServer({
      ...tlsOptions(identity),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: options.settings.dialTimeoutMs,
      noDelay: true,
    });
    this.#server.maxConnections = options.settings.maxConnections;
    this.#server.on('secureConnection', (socket) => this.#accept(socket));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // A node that gives its own attempt up, ours being there already, hangs up like this.
      if (error.code === 'ECONNRESET') options.logger.debug({ peer: socket.remoteAddress }, 'hung up at the handshake');
      else this.#tellRefused(socket.remoteAddress, error.message);
    });
  }

  /** Errors: DomainError('in-use') if the address is taken, 'invalid' if this machine does not have it. */
  async listen(endpoint: Endpoint): Promise<Endpoint> {
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => {
        const where = `${endpoint.host}:${endpoint.port}`;
        if (error.code === 'EADDRINUSE') {
          reject(new DomainError('in-use', `${where} is taken by another process (IO_BIND_ADDRESS)`, { cause: error }));
        } else if (error.code === 'EADDRNOTAVAIL') {
          reject(
            new DomainError('invalid', `this machine has no address ${where} (IO_BIND_ADDRESS)`, { cause: error }),
          );
        } else reject(error);
      };
      this.#server.once('error', failed);
      this.#server.listen({ host: endpoint.host, port: endpoint.port }, () => {
        this.#server.off('error', failed);
        resolve();
      });
    });
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: isIP(address) === 0 ? endpoint.host : address, port };
  }

  /** New connections use this identity; those that exist go on. */
  setIdentity(identity: TlsIdentity): void {
    this.#server.setSecureContext(tlsOptions(identity));
  }

  /** No more connections; those that are not introduced yet are closed. The others belong to their users. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.destroy('this node stops');
    await closed;
  }

  #accept(socket: TLSSocket): void {
    const { clock, settings, logger } = this.#options;
    let node: NodeId;
    try {
      node = nodeOfRawCertificate(socket.getPeerCertificate().raw);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      this.#tellRefused(socket.remoteAddress, error.message);
      socket.destroy();
      return;
    }
    const closed = (reason: string): void => {
      this.#connections.delete(connection);
      timer.cancel();
      logger.debug({ peer: node, reason }, 'connection closed before its introduction');
    };
    const connection: Connection = new Connection(socket, clock, settings, {
      frame: (frame) => {
        const hello = decodeHello(frame);
        this.#connections.delete(connection);
        timer.cancel();
        const version = commonVersion(hello, this.#options.settings.newestVersion);
        if (hello.node !== node) this.#refuse(connection, node, 'wrong-node');
        else if (hello.to !== this.#options.self) this.#refuse(connection, node, 'wrong-node');
        else if (hello.cluster !== this.#options.cluster) this.#refuse(connection, node, 'wrong-cluster');
        else if (version === undefined) this.#refuse(connection, node, 'version');
        else this.#welcome(connection, node, hello.purpose, version);
      },
      closed,
    });
    const timer = clock.after(settings.dialTimeoutMs, () => connection.destroy('no introduction in time'));
    this.#connections.add(connection);
  }

  #welcome(connection: Connection, node: NodeId, purpose: Purpose, version: number): void {
    const { lend } = this.#options;
    connection.version = version;
    if (lend !== undefined) connection.lend = lend;
    if (purpose.kind === 'session') {
      connection.send(encodeWelcome(version));
      this.#options.session(node, purpose, connection);
      return;
    }
    if (this.#options.admit(node) === 'duplicate') {
      connection.send(encodeGoodbye('duplicate'));
      connection.finish();
      return;
    }
    connection.send(encodeWelcome(version));
    this.#options.peer(node, connection);
  }

  #refuse(connection: Connection, node: NodeId, reason: Goodbye): void {
    this.#tellRefused(node, reason);
    connection.send(encodeGoodbye(reason));
    connection.finish();
  }

  /** Anybody can connect, as often as he likes: the log takes one line an interval, with the number of the others. */
  #tellRefused(peer: string | undefined, reason: string): void {
    const { clock, logger } = this.#options;
    const now = clock.now();
    if (now < this.#refusals.silentUntilMs) {
      this.#refusals.untold++;
      return;
    }
    const { untold } = this.#refusals;
    logger.warn({ peer, reason, ...(untold > 0 && { untold }) }, 'refused a connection');
    this.#refusals = { untold: 0, silentUntilMs: now + REFUSAL_LOG_INTERVAL_MS };
  }
}
