/**
 * Users and the policy groups that they are members of, where a change of one must hold against changes of others:
 * nobody becomes a member of a group that is being deleted, and the last administrator stays, also when two nodes
 * change accounts at the same moment. Such changes compare and write one key, so that each sees all before it.
 */

import type { PolicyGroup, User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { PolicyGroupId, UserId } from '../../core/types.js';
import { encodeValue } from './encoding.js';
import type { Condition, EtcdConnection, Operation } from './etcd.js';
import { ACCOUNTS_KEY } from './keys.js';
import { type Repository, staleWrite, type Versioned } from './repository.js';

/** Attempts against competing writers before 'stale-write'. */
const ATTEMPTS = 64;

/** Joins a transaction that must see all guarded changes before it. */
interface Guard {
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
}

const UNGUARDED: Guard = { conditions: [], operations: [] };

export interface AccountsOptions {
  readonly etcd: EtcdConnection;
  readonly users: Repository<User, UserId>;
  readonly policies: Repository<PolicyGroup, PolicyGroupId>;
}

export class Accounts {
  readonly #options: AccountsOptions;

  constructor(options: AccountsOptions) {
    this.#options = options;
  }

  /**
   * `conditions` join the transaction. Errors: 'already-exists' (name), 'invalid' (a group that does not exist),
   * 'invalid-state' if only the caller's conditions do not hold.
   */
  async create(user: User, conditions: readonly Condition[] = []): Promise<Versioned<User>> {
    for (let attempt = 1; ; attempt++) {
      const guard = user.groups.length > 0 ? await this.#guard() : UNGUARDED;
      await this.#requireGroups(user.groups);
      try {
        return await this.#options.users.create(user, [...guard.conditions, ...conditions], guard.operations);
      } catch (error) {
        const again = guard !== UNGUARDED && attempt < ATTEMPTS && hasCode(error, 'invalid-state');
        if (!again) throw error;
      }
    }
  }

  /**
   * Replaces the user by what `change` makes of it; `change` may be called several times.
   * Errors: 'not-found', 'stale-write'; 'invalid' (a group that does not exist); 'in-use' if it would demote the
   * last administrator.
   */
  async update(id: UserId, change: (current: User) => User, expectedVersion?: string): Promise<Versioned<User>> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const current = await this.#expect(id, expectedVersion);
      const next = change(current.value);
      if (next === current.value) return current;
      const joining = next.groups.filter((group) => !current.value.groups.includes(group));
      const demoted = current.value.isAdmin && !next.isAdmin;
      const guard = joining.length > 0 || demoted ? await this.#guard() : UNGUARDED;
      await this.#requireGroups(joining);
      if (demoted) await this.#requireAnotherAdministrator(id);
      const { conditions, operations } = guard;
      const replaced = await this.#options.users.replace(next, current.version, conditions, operations);
      if (replaced !== undefined) return replaced;
    }
    throw staleWrite(`user ${id}`);
  }

  /** Errors: 'not-found', 'stale-write'; 'in-use' for the last administrator. */
  async remove(id: UserId, expectedVersion?: string): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { value, version } = await this.#expect(id, expectedVersion);
      const guard = value.isAdmin ? await this.#guard() : UNGUARDED;
      if (value.isAdmin) await this.#requireAnotherAdministrator(id);
      try {
        return await this.#options.users.remove(id, version, guard.conditions, guard.operations);
      } catch (error) {
        if (!hasCode(error, 'stale-write') && !hasCode(error, 'in-use')) throw error;
      }
    }
    throw staleWrite(`user ${id}`);
  }

  /** Errors: 'not-found', 'stale-write'; 'in-use' while it has members. */
  async removeGroup(id: PolicyGroupId, expectedVersion?: string): Promise<void> {
    const { users, policies } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const guard = await this.#guard();
      const members = (await users.list()).filter(({ value }) => value.groups.includes(id)).length;
      if (members > 0) throw new DomainError('in-use', `policy group ${id} has ${members} member(s)`);
      try {
        return await policies.remove(id, expectedVersion, guard.conditions, guard.operations);
      } catch (error) {
        if (!hasCode(error, 'in-use')) throw error;
      }
    }
    throw staleWrite(`policy group ${id}`);
  }

  /** To be taken before what the decision rests on is read. */
  async #guard(): Promise<Guard> {
    const found = await this.#options.etcd.get(ACCOUNTS_KEY);
    const condition: Condition =
      found === undefined ? { key: ACCOUNTS_KEY, is: 'absent' } : { key: ACCOUNTS_KEY, revision: found.revision };
    return { conditions: [condition], operations: [{ put: ACCOUNTS_KEY, value: encodeValue(ACCOUNTS_KEY, {}) }] };
  }

  async #requireGroups(groups: readonly PolicyGroupId[]): Promise<void> {
    const found = await Promise.all(groups.map((group) => this.#options.policies.get(group)));
    const missing = groups.find((_, i) => found[i] === undefined);
    if (missing !== undefined) throw new DomainError('invalid', `policy group ${missing} does not exist`);
  }

  async #requireAnotherAdministrator(id: UserId): Promise<void> {
    const users = await this.#options.users.list();
    if (users.some(({ value }) => value.isAdmin && value.id !== id)) return;
    throw new DomainError('in-use', 'the last administrator can be neither deleted nor demoted');
  }

  async #expect(id: UserId, version: string | undefined): Promise<Versioned<User>> {
    const current = await this.#options.users.require(id);
    if (version !== undefined && current.version !== version) throw staleWrite(`user ${id}`);
    return current;
  }
}

function hasCode(error: unknown, code: DomainError['code']): boolean {
  return error instanceof DomainError && error.code === code;
}
