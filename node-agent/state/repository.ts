/** Objects of one kind, by id. */

import { z } from 'zod';
import { DomainError } from '../../core/errors.js';
import { decodeValue, encodeValue, revisionOf, versionOf } from './encoding.js';
import { type Condition, type EtcdConnection, type KeyValue, type Operation, toDomainError } from './etcd.js';
import { CLUSTER_SCOPE, type Kind, type NamedKind, nameKey, objectKey, parseKey } from './keys.js';

/** Attempts of an unguarded update against competing writers before it gives up with 'stale-write'. */
export const UPDATE_ATTEMPTS = 256;

export interface Versioned<T> {
  readonly value: T;
  /** Another one after every change; opaque, at most 30 characters. */
  readonly version: string;
}

/** A name that the object holds for itself within a scope. */
export interface UniqueName {
  readonly kind: NamedKind;
  readonly scope: string;
  readonly name: string;
}

/** What is known of the objects of one kind without asking etcd; fed by the watch. */
export interface Cache<T, Id extends string> {
  get(id: Id): Versioned<T> | undefined;
  values(): IterableIterator<Versioned<T>>;
  readonly size: number;
}

/** What the watch says of the cache. */
export interface FedCache<T, Id extends string> extends Cache<T, Id> {
  /** Whether everything that there was has been read once. */
  readonly synced: boolean;
  /**
   * Revision of the last write that the cache has taken in; 0 if there was none, -1 if there are malformed values,
   * which the cache does not hold.
   */
  readonly newestRevision: number;
}

export interface RepositoryOptions<T, Id extends string> {
  readonly etcd: EtcdConnection;
  readonly kind: Kind;
  /** For messages: `volume`, `node`. */
  readonly noun: string;
  readonly schema: z.ZodType<T>;
  readonly idOf: (value: T) => Id;
  readonly uniqueName?: (value: T) => UniqueName;
  readonly cache: FedCache<T, Id>;
  /** False while the watch has no connection: etcd need not be asked to know that it does not answer. */
  readonly reachable: () => boolean;
}

/** Somebody has changed `what` since the caller saw it. */
export function staleWrite(what: string): DomainError {
  return new DomainError('stale-write', `${what}: attempting to write stale object`);
}

export class Repository<T extends object, Id extends string> {
  readonly cached: Cache<T, Id>;
  readonly #options: RepositoryOptions<T, Id>;

  constructor(options: RepositoryOptions<T, Id>) {
    this.#options = options;
    this.cached = options.cache;
  }

  keyOf(id: Id): string {
    return objectKey(this.#options.kind, id);
  }

  decode(item: KeyValue): Versioned<T> {
    return { value: decodeValue(item.key, item.value, this.#options.schema), version: versionOf(item.revision) };
  }

  /** Linearizable. Errors: 'store-unavailable'. */
  async get(id: Id): Promise<Versioned<T> | undefined> {
    const found = await this.#options.etcd.get(this.keyOf(id));
    return found === undefined ? undefined : this.decode(found);
  }

  /** Like `get`, but DomainError('not-found') if there is none. */
  async require(id: Id): Promise<Versioned<T>> {
    return (await this.get(id)) ?? this.#missing(id);
  }

  /** Linearizable; all at one revision, by id. Read from etcd only if the watch is behind. */
  async list(): Promise<Versioned<T>[]> {
    if (await this.#hasSeenAll()) return this.#seen();
    return (await this.#items()).map((item) => this.#known(item) ?? this.decode(item));
  }

  /** Like `get`; what was last seen of it while etcd does not answer. */
  getOrLastSeen(id: Id): Promise<Versioned<T> | undefined> {
    return this.#orLastSeen(
      () => this.get(id),
      () => this.#options.cache.get(id),
    );
  }

  /** Like `list`; what was last seen while etcd does not answer. */
  listOrLastSeen(): Promise<Versioned<T>[]> {
    return this.#orLastSeen(
      () => this.list(),
      () => this.#seen(),
    );
  }

  /**
   * To look objects up at once: they are no older than what `list` would give. What was last seen of those that are
   * malformed in etcd, and of all while it does not answer.
   */
  async lookup(): Promise<Pick<Cache<T, Id>, 'get'>> {
    const { cache } = this.#options;
    return this.#orLastSeen<Pick<Cache<T, Id>, 'get'>>(
      async () => {
        if (await this.#hasSeenAll()) return cache;
        const found = (await this.#items()).flatMap((item) => this.#sound(item) ?? []);
        return new Map(found.map((object) => [this.#options.idOf(object.value), object]));
      },
      () => cache,
    );
  }

  /**
   * `conditions` and `operations` join the same transaction. Errors: 'already-exists' if the id or the unique
   * name is taken; 'invalid-state' if only the caller's conditions do not hold.
   */
  async create(
    value: T,
    conditions: readonly Condition[] = [],
    operations: readonly Operation[] = [],
  ): Promise<Versioned<T>> {
    const { etcd, idOf, noun } = this.#options;
    const key = this.keyOf(idOf(value));
    const name = this.#nameOf(value);
    const outcome = await etcd
      .transaction(
        [
          { key, is: 'absent' },
          ...(name === undefined ? [] : [{ key: name.key, is: 'absent' } as const]),
          ...conditions,
        ],
        [
          { put: key, value: this.#encode(value) },
          ...(name === undefined ? [] : [{ put: name.key, value: encodeValue(name.key, idOf(value)) }]),
          ...operations,
        ],
        [key, ...(name === undefined ? [] : [name.key])],
      )
      .catch((error) => Promise.reject(this.#uncertain(error, `creating ${key}`)));
    if (outcome.succeeded) return { value, version: versionOf(outcome.revision) };
    if (outcome.found[1] !== undefined && name !== undefined) {
      throw new DomainError('already-exists', `a ${noun} named "${name.name}" already exists`);
    }
    if (outcome.found[0] !== undefined)
      throw new DomainError('already-exists', `${noun} ${idOf(value)} already exists`);
    throw new DomainError('invalid-state', `${noun} ${idOf(value)}: what it depends on has gone`);
  }

  /**
   * Replaces the object by what `change` makes of it; `change` may throw, and is called again if somebody else
   * was faster and `expectedVersion` is not given. Nothing is written if it returns the same object.
   * Errors: 'not-found'; 'stale-write' if the version is another one; 'store-unavailable', where the change
   * may have been made.
   */
  async update(id: Id, change: (current: T) => T, expectedVersion?: string): Promise<Versioned<T>> {
    for (let attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
      const current = await this.require(id);
      if (expectedVersion !== undefined && current.version !== expectedVersion) throw this.#stale(id);
      const value = change(current.value);
      if (value === current.value) return current;
      const replaced = await this.replace(value, current.version);
      if (replaced !== undefined) return replaced;
      if (expectedVersion !== undefined) throw this.#stale(id);
    }
    throw this.#stale(id);
  }

  /**
   * Writes the object if its version is still this one and the conditions hold; undefined if not. `conditions` and
   * `operations` join the transaction. Unique names do not change.
   */
  async replace(
    value: T,
    version: string,
    conditions: readonly Condition[] = [],
    operations: readonly Operation[] = [],
  ): Promise<Versioned<T> | undefined> {
    const key = this.keyOf(this.#options.idOf(value));
    const revision = revisionOf(version);
    if (revision === undefined) return undefined;
    const outcome = await this.#options.etcd
      .transaction([{ key, revision }, ...conditions], [{ put: key, value: this.#encode(value) }, ...operations])
      .catch((error) => Promise.reject(this.#uncertain(error, `writing ${key}`)));
    return outcome.succeeded ? { value, version: versionOf(outcome.revision) } : undefined;
  }

  /**
   * Removes the object and its unique name. `conditions` and `operations` join the transaction.
   * Errors: 'not-found', 'stale-write'; 'in-use' if only the caller's conditions do not hold.
   */
  async remove(
    id: Id,
    expectedVersion?: string,
    conditions: readonly Condition[] = [],
    operations: readonly Operation[] = [],
  ): Promise<void> {
    const key = this.keyOf(id);
    for (let attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
      const found = await this.#options.etcd.get(key);
      if (found === undefined) return this.#missing(id);
      const current = this.decode(found);
      if (expectedVersion !== undefined && current.version !== expectedVersion) throw this.#stale(id);
      const name = this.#nameOf(current.value);
      const outcome = await this.#options.etcd
        .transaction(
          [{ key, revision: found.revision }, ...conditions],
          [{ remove: key }, ...(name === undefined ? [] : [{ remove: name.key }]), ...operations],
          [key],
        )
        .catch((error) => Promise.reject(this.#uncertain(error, `removing ${key}`)));
      if (outcome.succeeded) return;
      if (outcome.found[0] === undefined) return this.#missing(id);
      if (outcome.found[0]?.revision === found.revision) {
        throw new DomainError('in-use', `${this.#options.noun} ${id} is in use`);
      }
      if (expectedVersion !== undefined) throw this.#stale(id);
    }
    throw this.#stale(id);
  }

  /** The object that has the name, if there is one. */
  async findByName(name: string, scope: string = CLUSTER_SCOPE): Promise<Versioned<T> | undefined> {
    const kind = this.#options.kind as NamedKind;
    const found = await this.#options.etcd.get(nameKey(kind, scope, name));
    if (found === undefined) return undefined;
    return this.get(decodeValue(found.key, found.value, z.string()) as Id);
  }

  /** Whether the watch has brought all that etcd holds at this moment. */
  async #hasSeenAll(): Promise<boolean> {
    const { etcd, kind, cache, reachable } = this.#options;
    if (!cache.synced || !reachable()) return false;
    const { count, revision } = await etcd.newest(`${kind}/`);
    // Without a newer write, only a deletion can be missing, and that would show in the number.
    return revision <= cache.newestRevision && count === cache.size;
  }

  async #items(): Promise<readonly KeyValue[]> {
    const { etcd, kind } = this.#options;
    return (await etcd.list(`${kind}/`)).items;
  }

  /** All that the watch has seen, in the order of etcd's keys. */
  #seen(): Versioned<T>[] {
    const { cache, idOf } = this.#options;
    const byId = [...cache.values()].map((object) => [idOf(object.value), object] as const);
    return byId.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** The value as the watch has read and checked it already, if it is of the same revision. */
  #known(item: KeyValue): Versioned<T> | undefined {
    const id = parseKey(item.key)?.id as Id | undefined;
    const known = id === undefined ? undefined : this.#options.cache.get(id);
    return known?.version === versionOf(item.revision) ? known : undefined;
  }

  /** The value; if it is malformed, what was last seen of it. */
  #sound(item: KeyValue): Versioned<T> | undefined {
    const known = this.#known(item);
    if (known !== undefined) return known;
    try {
      return this.decode(item);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const id = parseKey(item.key)?.id as Id | undefined;
      return id === undefined ? undefined : this.#options.cache.get(id);
    }
  }

  #encode(value: T) {
    const key = this.keyOf(this.#options.idOf(value));
    const parsed = this.#options.schema.safeParse(value);
    if (!parsed.success) {
      const first = parsed.error.issues[0];
      throw new DomainError('invalid', `${this.#options.noun}: ${first?.path.join('.')}: ${first?.message}`);
    }
    return encodeValue(key, parsed.data);
  }

  #nameOf(value: T): { key: string; name: string } | undefined {
    const name = this.#options.uniqueName?.(value);
    return name === undefined ? undefined : { key: nameKey(name.kind, name.scope, name.name), name: name.name };
  }

  async #orLastSeen<R>(ask: () => Promise<R>, remembered: () => R): Promise<R> {
    const { cache, reachable } = this.#options;
    if (cache.synced && !reachable()) return remembered();
    try {
      return await ask();
    } catch (error) {
      if (cache.synced && error instanceof DomainError && error.code === 'store-unavailable') return remembered();
      throw error;
    }
  }

  #missing(id: Id): never {
    throw new DomainError('not-found', `${this.#options.noun} ${id} not found`);
  }

  #stale(id: Id): DomainError {
    return staleWrite(`${this.#options.noun} ${id}`);
  }

  #uncertain(error: unknown, what: string): DomainError {
    const mapped = toDomainError(error, what);
    return mapped.code === 'store-unavailable'
      ? new DomainError('store-unavailable', `etcd did not answer while ${what}; it may have been done or not`, {
          cause: error,
        })
      : mapped;
  }
}
