import { type SecureContext, connect as tlsConnect } from 'node:tls';
import type { Clock } from '../../core/ports.js';
import type { Lender } from '../../core/record.js';
import type { NodeId } from '../../core/types.js';
import type { Endpoint } from '../config.js';
import { nodeOfRawCertificate } from '../pki/index.js';
import { Connection, type ConnectionHandlers } from './connection.js';
import { decodeAnswer, encodeHello, type Goodbye, type Purpose } from './hello.js';
import type { TransportSettings } from './settings.js';
import type { Frame } from './wire.js';

export interface DialOptions {
  readonly self: NodeId;
  readonly cluster: string;
  readonly clock: Clock;
  readonly settings: TransportSettings;
  /** Where the payloads that arrive may be put; absent: ordinary memory. */
  readonly lend?: Lender | undefined;
  readonly secureContext: SecureContext;
  /** Local address to dial from, so that a node's traffic can be told by its address. */
  readonly localAddress?: string;
}

export interface DialEvents {
  /** The introduction has been sent: from now on the other end may have accepted. */
  introduced?(): void;
  /** The connection is welcome; its handlers are to be set before this returns. */
  welcome(connection: Connection): void;
  failed(reason: string, goodbye?: Goodbye): void;
}

/** An attempt to reach a node that ends with `welcome` or `failed`, at the latest after `dialTimeoutMs`. */
export class Dial {
  readonly #events: DialEvents;
  #abort: (reason: string) => void;
  #ended = false;

  constructor(options: DialOptions, to: NodeId, address: Endpoint, purpose: Purpose, events: DialEvents) {
    this.#events = events;
    const socket = tlsConnect({
      host: address.host,
      port: address.port,
      secureContext: options.secureContext,
      minVersion: 'TLSv1.3',
      ...(options.localAddress !== undefined && { localAddress: options.localAddress }),
      // The chain is checked by TLS; the name that counts is the node's, wherever it lives.
      checkServerIdentity: (_host, certificate) => {
        try {
          const node = nodeOfRawCertificate(certificate.raw);
          return node === to ? undefined : new Error(`it is node ${node} that answers there`);
        } catch (error) {
          return error as Error;
        }
      },
    });
    socket.setNoDelay(true);
    const timer = options.clock.after(options.settings.dialTimeoutMs, () => this.#fail('no answer in time'));
    this.#abort = () => {
      timer.cancel();
      socket.destroy();
    };
    // Stays for the socket's life: an error after an abort has nobody else to go to.
    socket.on('error', (error) => this.#fail(error.message));
    socket.once('close', () => this.#fail('closed by the other end'));
    socket.once('secureConnect', () => {
      if (this.#ended) return;
      const handlers: ConnectionHandlers = {
        frame: (frame: Frame) => {
          if (this.#ended) return;
          const answer = decodeAnswer(frame);
          if ('goodbye' in answer) {
            this.#fail(`refused: ${answer.goodbye}`, answer.goodbye);
            return;
          }
          this.#ended = true;
          timer.cancel();
          connection.version = answer.version;
          if (options.lend !== undefined) connection.lend = options.lend;
          events.welcome(connection);
        },
        closed: (reason) => this.#fail(reason),
      };
      const connection = new Connection(socket, options.clock, options.settings, handlers);
      this.#abort = (reason) => {
        timer.cancel();
        connection.destroy(reason);
      };
      connection.send(encodeHello(options.self, to, options.cluster, purpose, options.settings.newestVersion));
      events.introduced?.();
    });
  }

  /** Gives up without a further event. */
  cancel(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#abort('given up');
  }

  #fail(reason: string, goodbye?: Goodbye): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#abort(reason);
    this.#events.failed(reason, goodbye);
  }
}
