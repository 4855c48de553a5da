import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { PolicyGroupId } from '../../../core/types.js';
import type { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { aPolicyGroup, aUser } from '../../setup/records.js';
import { freshState, outcomeOf } from './fresh-state.js';

let state: ClusterState;

freshState((fresh) => {
  ({ state } = fresh);
});

describe('policy groups', () => {
  it('have a name of their own, and members that exist', async () => {
    const group = aPolicyGroup({ name: 'dev' });
    await state.policies.create(group);
    expect(await outcomeOf(state.policies.create(aPolicyGroup({ name: 'dev' })))).toBe('already-exists');
    const user = aUser({ groups: [group.id] });
    await state.accounts.create(user);
    const nowhere = [randomUUID() as PolicyGroupId];
    expect(await outcomeOf(state.accounts.create(aUser({ groups: nowhere })))).toBe('invalid');
    expect(await outcomeOf(state.accounts.update(user.id, (current) => ({ ...current, groups: nowhere })))).toBe(
      'invalid',
    );
    expect((await state.users.require(user.id)).value.groups).toEqual([group.id]);
  });

  it('are deleted only without members', async () => {
    const group = aPolicyGroup();
    const { version } = await state.policies.create(group);
    const users = [aUser({ groups: [group.id] }), aUser({ groups: [group.id] })];
    for (const user of users) await state.accounts.create(user);
    expect(await outcomeOf(state.accounts.removeGroup(group.id))).toBe('in-use');
    await state.accounts.update(users[0]!.id, (user) => ({ ...user, groups: [] }));
    expect(await outcomeOf(state.accounts.removeGroup(group.id, version))).toBe('in-use');
    await state.accounts.remove(users[1]!.id);
    expect(await outcomeOf(state.accounts.removeGroup(group.id, 'Mg'))).toBe('stale-write');
    expect(await outcomeOf(state.accounts.removeGroup(group.id, version))).toBe('done');
    expect(await outcomeOf(state.accounts.removeGroup(group.id))).toBe('not-found');
  });

  it('one that is deleted while many join it has no members afterwards, or it is there', async () => {
    for (let round = 0; round < 10; round++) {
      const group = aPolicyGroup();
      await state.policies.create(group);
      const users = Array.from({ length: 4 }, () => aUser({ groups: [group.id] }));
      const outcomes = await Promise.all([
        outcomeOf(state.accounts.removeGroup(group.id)),
        ...users.map((user) => outcomeOf(state.accounts.create(user))),
      ]);
      const [removed, ...joined] = outcomes;
      if (removed === 'done') expect(joined).toEqual(['invalid', 'invalid', 'invalid', 'invalid']);
      else expect([removed, new Set(joined)]).toEqual(['in-use', new Set(['done'])]);
    }
  });
});

describe('administrators', () => {
  it('the last one can be neither demoted nor removed', async () => {
    const admin = aUser({ isAdmin: true });
    await state.accounts.create(admin);
    await state.accounts.create(aUser());
    const demote = (id = admin.id) => outcomeOf(state.accounts.update(id, (user) => ({ ...user, isAdmin: false })));
    expect(await demote()).toBe('in-use');
    expect(await outcomeOf(state.accounts.remove(admin.id))).toBe('in-use');
    const second = aUser({ isAdmin: true });
    await state.accounts.create(second);
    expect(await demote()).toBe('done');
    expect(await demote(second.id)).toBe('in-use');
    expect(await outcomeOf(state.accounts.remove(admin.id))).toBe('done');
  });

  it('one is left of any number that remove each other at the same moment', async () => {
    const admins = Array.from({ length: 6 }, () => aUser({ isAdmin: true }));
    for (const admin of admins) await state.accounts.create(admin);
    const outcomes = await Promise.all(
      admins.map(({ id }, i) =>
        outcomeOf(
          i % 2 === 0 ? state.accounts.remove(id) : state.accounts.update(id, (user) => ({ ...user, isAdmin: false })),
        ),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === 'in-use')).toHaveLength(1);
    expect((await state.users.list()).filter(({ value }) => value.isAdmin)).toHaveLength(1);
  });
});

it('one of 100 writers of a user with the same version wins', async () => {
  const group = aPolicyGroup();
  await state.policies.create(group);
  const { value, version } = await state.accounts.create(aUser());
  const outcomes = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      outcomeOf(
        state.accounts.update(
          value.id,
          (user) => ({ ...user, passwordHash: `hash ${i}`, groups: i % 2 === 0 ? [group.id] : [] }),
          version,
        ),
      ),
    ),
  );
  expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === 'stale-write')).toHaveLength(99);
});
