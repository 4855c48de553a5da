/** The etcd client: one prefix, deadlines on every call, typed errors; nothing is retried but reads. */

import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import { isBrokenCircuitError, isIsolatedCircuitError, noop } from 'cockatiel';
import {
  ClientClosedError,
  Etcd3,
  GRPCAbortedError,
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInternalError,
  GRPCResourceExhastedError,
  GRPCUnavailableError,
  GRPCUnknownError,
  type ICompare,
  type IKeyValue,
  type IRequestOp,
  type IResponseHeader,
  type ITxnResponse,
} from 'etcd3';
import { DomainError } from '../../core/errors.js';
import { Tally } from '../metrics/tally.js';
import { HostHealth } from './host-health.js';
import { prefixEnd } from './keys.js';

/** Time that one call to etcd may take, ms. */
export const CALL_TIMEOUT_MS = 5000;
/** Keys in one page of a listing. */
const PAGE_KEYS = 500;
/** Bytes of one answer at the most: a page of values of the usual size, or one of the largest. */
const MAX_RECEIVE_BYTES = 64 << 20;
/** Attempts of a read, which may be repeated without harm. */
const READ_ATTEMPTS = 3;

export interface EtcdOptions {
  /** `host:port` or `https://host:port`. */
  readonly endpoints: readonly string[];
  /** Prefix of all keys, without the final slash; several clusters may share an etcd. */
  readonly namespace: string;
  /** Paths of PEM files. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
  readonly auth?: { readonly username: string; readonly password: string };
}

export interface KeyValue {
  /** Without the prefix. */
  readonly key: string;
  readonly value: Buffer;
  readonly revision: string;
}

/** `absent` and `present` are about the key; `empty` about every key below a prefix. */
export type Condition =
  | { readonly key: string; readonly is: 'absent' | 'present' }
  | { readonly key: string; readonly revision: string }
  | { readonly key: string; readonly value: Buffer }
  | { readonly empty: string };

export type Operation =
  | { readonly put: string; readonly value: Buffer; readonly lease?: string }
  | { readonly remove: string };

/** The call may have been carried out although it failed. */
const UNCERTAIN = [
  GRPCUnavailableError,
  GRPCDeadlineExceededError,
  GRPCCancelledError,
  GRPCInternalError,
  GRPCUnknownError,
  GRPCAbortedError,
];

/** The same for errors of streams, which the client library passes on as they come from gRPC. */
const UNCERTAIN_STATUS: ReadonlySet<unknown> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
  status.ABORTED,
]);

/** DomainError for anything that the etcd client throws; 'store-unavailable' if etcd did not answer. */
export function toDomainError(error: unknown, what: string): DomainError {
  if (error instanceof DomainError) return error;
  const grpcStatus = error instanceof Error && 'code' in error ? error.code : undefined;
  if (UNCERTAIN.some((type) => error instanceof type) || UNCERTAIN_STATUS.has(grpcStatus)) {
    return new DomainError('store-unavailable', `etcd does not answer (${what}); is it healthy?`, { cause: error });
  }
  if (isBrokenCircuitError(error) || isIsolatedCircuitError(error)) {
    return new DomainError('store-unavailable', `no etcd endpoint answers (${what})`, { cause: error });
  }
  if (error instanceof GRPCResourceExhastedError) {
    return new DomainError('store-unavailable', `etcd has no room or is overloaded (${what})`, { cause: error });
  }
  if (error instanceof ClientClosedError) {
    return new DomainError('store-unavailable', `the connection to etcd is closed (${what})`, { cause: error });
  }
  return new DomainError('internal', `etcd refused ${what}`, { cause: error });
}

export class EtcdConnection {
  readonly prefix: string;
  readonly client: Etcd3;
  /** Calls of etcd, each attempt by itself. */
  readonly queries = new Tally('operation', 'result');
  readonly #health: HostHealth | undefined;

  constructor(options: EtcdOptions) {
    this.prefix = `${options.namespace}/`;
    const identity = {
      ...(options.auth !== undefined && { auth: options.auth }),
      ...(options.tls !== undefined && {
        credentials: {
          rootCertificate: readFileSync(options.tls.ca),
          ...(options.tls.cert !== undefined && { certChain: readFileSync(options.tls.cert) }),
          ...(options.tls.key !== undefined && { privateKey: readFileSync(options.tls.key) }),
        },
      }),
    };
    this.#health = options.endpoints.length > 1 ? new HostHealth(identity) : undefined;
    this.client = new Etcd3({
      hosts: options.endpoints.map((endpoint) =>
        options.tls !== undefined && !endpoint.includes('://') ? `https://${endpoint}` : endpoint,
      ),
      dialTimeout: 2000,
      grpcOptions: {
        'grpc.keepalive_time_ms': 10_000,
        'grpc.keepalive_timeout_ms': 3000,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 500,
        'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
      },
      faultHandling: {
        host: (host) => this.#health?.policy(host) ?? noop,
        global: noop,
      },
      defaultCallOptions: (call) => (call.isStream ? {} : { deadline: Date.now() + CALL_TIMEOUT_MS }),
      ...identity,
    });
  }

  close(): void {
    this.#health?.close();
    this.client.close();
  }

  /** The key without the cluster's prefix. */
  unprefixed(key: Buffer): string {
    return key.toString('utf8').slice(this.prefix.length);
  }

  /** Linearizable. */
  async get(key: string): Promise<KeyValue | undefined> {
    const answer = await this.#read(`reading ${key}`, () => this.client.kv.range({ key: this.#key(key) }));
    const found = answer.kvs[0];
    return found === undefined ? undefined : this.#keyValue(found);
  }

  /** Everything below a prefix (the whole cluster if empty), at one revision, in pages. */
  async list(below: string): Promise<{ header: IResponseHeader; items: KeyValue[] }> {
    const end = this.#key(prefixEnd(this.prefix + below), false);
    const items: KeyValue[] = [];
    let from = this.#key(below);
    let header: IResponseHeader | undefined;
    for (;;) {
      const page = await this.#read(`listing ${below}`, () =>
        this.client.kv.range({
          key: from,
          range_end: end,
          limit: PAGE_KEYS,
          ...(header !== undefined && { revision: header.revision }),
        }),
      );
      header ??= page.header;
      for (const found of page.kvs) items.push(this.#keyValue(found));
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return { header, items };
      from = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** How many keys there are below a prefix, and the revision of the last change of one of them; 0: there are none. */
  async newest(below: string): Promise<{ count: number; revision: number }> {
    const answer = await this.#read(`looking at ${below}`, () =>
      this.client.kv.range({
        key: this.#key(below),
        range_end: this.#key(prefixEnd(this.prefix + below), false),
        sort_target: 'Mod',
        sort_order: 'Descend',
        limit: 1,
        keys_only: true,
      }),
    );
    return { count: Number(answer.count), revision: Number(answer.kvs[0]?.mod_revision ?? 0) };
  }

  /**
   * Carries out all operations if all conditions hold, else reads `otherwise`. Never retried here.
   * Errors: those of the etcd client, untranslated, so that the caller can tell an unknown outcome.
   */
  async transaction(
    conditions: readonly Condition[],
    operations: readonly Operation[],
    otherwise: readonly string[] = [],
  ): Promise<{ succeeded: boolean; revision: string; clusterId: string; found: (KeyValue | undefined)[] }> {
    const answer: ITxnResponse = await this.#counted('transaction', () =>
      this.client.kv.txn({
        compare: conditions.map((condition) => this.#compare(condition)),
        success: operations.map((operation) => this.#operation(operation)),
        failure: otherwise.map((key) => ({ request_range: { key: this.#key(key) } })),
      }),
    );
    const found = answer.succeeded
      ? []
      : answer.responses.map((response) => {
          const item = response.response_range.kvs[0];
          return item === undefined ? undefined : this.#keyValue(item);
        });
    const { revision, cluster_id: clusterId } = answer.header;
    return { succeeded: answer.succeeded, revision, clusterId, found };
  }

  #key(key: string, prefixed = true): Buffer {
    return Buffer.from(prefixed ? this.prefix + key : key, 'utf8');
  }

  #keyValue(item: IKeyValue): KeyValue {
    return { key: this.unprefixed(item.key), value: item.value, revision: item.mod_revision };
  }

  #compare(condition: Condition): ICompare {
    if ('empty' in condition) {
      // etcd takes an empty range for one key that was never made; etcd3's types lack the field of the format.
      const range: ICompare & { range_end: Buffer } = {
        key: this.#key(condition.empty),
        range_end: this.#key(prefixEnd(this.prefix + condition.empty), false),
        target: 'Create',
        result: 'Equal',
        create_revision: 0,
      };
      return range;
    }
    const key = this.#key(condition.key);
    if ('revision' in condition) {
      return { key, target: 'Mod', result: 'Equal', mod_revision: condition.revision };
    }
    if ('value' in condition) return { key, target: 'Value', result: 'Equal', value: condition.value };
    return { key, target: 'Create', result: condition.is === 'absent' ? 'Equal' : 'NotEqual', create_revision: 0 };
  }

  #operation(operation: Operation): IRequestOp {
    if ('remove' in operation) return { request_delete_range: { key: this.#key(operation.remove) } };
    return {
      request_put: {
        key: this.#key(operation.put),
        value: operation.value,
        ...(operation.lease !== undefined && { lease: operation.lease }),
      },
    };
  }

  async #counted<R>(operation: 'read' | 'transaction', call: () => Promise<R>): Promise<R> {
    const startedMs = performance.now();
    const ended = (result: 'ok' | 'failed') =>
      this.queries.observe((performance.now() - startedMs) / 1000, { operation, result });
    try {
      const answer = await call();
      ended('ok');
      return answer;
    } catch (error) {
      ended('failed');
      throw error;
    }
  }

  async #read<R>(what: string, attempt: () => Promise<R>): Promise<R> {
    for (let tried = 1; ; tried++) {
      try {
        return await this.#counted('read', attempt);
      } catch (error) {
        const again = error instanceof GRPCUnavailableError || error instanceof GRPCCancelledError;
        if (!again || tried === READ_ATTEMPTS) throw toDomainError(error, what);
      }
    }
  }
}
