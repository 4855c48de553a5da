import { describe, expect, it } from 'vitest';
import { type CliHarness, freshHarness } from './harness.js';

let harness: CliHarness;
let cli: CliHarness['cli'];
let json: CliHarness['json'];

freshHarness((fresh) => {
  harness = fresh;
  ({ cli, json } = fresh);
});

describe('policy groups', () => {
  it('are created, shown, changed and deleted', async () => {
    await cli('create', 'namespace', 'apps');
    expect((await cli('create', 'policy-group', 'dev', '-r', 'apps:volume:rw,*:node:r')).code).toBe(0);
    expect((await cli('create', 'policy-group', 'dev')).code).toBe(9);
    expect((await cli('get', 'policy-groups')).out).toMatch(/^NAME {2}USERS {2}SPECS {2}AGE\ndev {3}0 {6}2 {6}/);
    expect(await json('get', 'policy-group', 'dev')).toMatchObject({
      name: 'dev',
      users: [],
      specs: [
        { namespaceName: 'apps', resourceType: 'volume', readOnly: false },
        { namespaceID: '*', namespaceName: '*', resourceType: 'node', readOnly: true },
      ],
    });
    const described = (await cli('describe', 'policy-group', 'dev')).out;
    expect(described).toMatch(/Specs +write volume on apps\n +read node on \*\nMembers +-/);
    expect((await cli('update', 'policy-group', 'dev', '-r', '*:*:r')).code).toBe(0);
    expect((await json('get', 'policy-group', 'dev')).specs).toHaveLength(1);
    expect((await cli('delete', 'policy-group', 'dev')).code).toBe(0);
    expect(await json('get', 'policy-groups')).toEqual([]);
  });

  it.each(['apps', 'apps:volume', 'apps:volume:x', 'apps:volume:rw:r'])('refuse the rule %s', async (rule) => {
    await cli('create', 'namespace', 'apps');
    expect(await cli('create', 'policy-group', 'dev', '-r', rule)).toMatchObject({
      code: 10,
      err: expect.stringContaining('namespace:resource:r'),
    });
  });

  it('of namespaces that are not there are refused', async () => {
    expect((await cli('create', 'policy-group', 'dev', '-r', 'nowhere:volume:r')).code).toBe(8);
  });
});

describe('users', () => {
  it('have the groups that they are given, and no others', async () => {
    await cli('create', 'policy-group', 'dev', '-r', '*:volume:rw');
    await cli('create', 'policy-group', 'ops', '-r', '*:*:rw');
    const made = await cli('create', 'user', '--with-username', 'eva', '--with-password', 'long enough');
    expect(made.out).toMatch(/^NAME {2}ROLE {2}AGE +GROUPS\neva {3}user/);
    expect((await json('get', 'user', 'eva')).groups).toEqual([]);
    expect((await cli('update', 'user', 'eva', '--with-groups', 'dev,ops', '--with-admin')).code).toBe(0);
    expect(await json('get', 'user', 'eva')).toMatchObject({
      isAdmin: true,
      groups: [{ name: 'dev' }, { name: 'ops' }],
    });
    expect((await cli('update', 'user', 'eva', '--with-admin=false')).code).toBe(0);
    const described = (await cli('describe', 'user', 'eva')).out;
    expect(described).toMatch(/Admin +false/);
    expect(described).toMatch(/Policies +dev \([0-9a-f-]{36}\)\n +ops/);
    expect((await cli('delete', 'policy-group', 'dev')).code).toBe(11);
    expect((await cli('update', 'user', 'eva', '--with-groups', '')).code).toBe(0);
    expect((await cli('delete', 'policy-group', 'dev')).code).toBe(0);
    expect((await cli('delete', 'user', 'eva')).code).toBe(0);
    expect((await cli('get', 'user', 'eva')).code).toBe(8);
  });

  it('are asked for a password twice, and told when they differ', async () => {
    const answers = (...given: string[]) => ({ askSecretly: async () => given.shift() ?? '' });
    const create = ['create', 'user', '--with-username', 'eva'];
    expect(await harness.with(answers('long enough', 'something else'), ...create)).toMatchObject({
      code: 10,
      err: 'Error: the passwords differ\n',
    });
    expect((await harness.with(answers('short'), ...create)).code).toBe(10);
    expect((await harness.with(answers('long enough', 'long enough'), ...create)).code).toBe(0);
    const asEva = ['--username', 'eva', '--password', 'long enough'];
    expect((await cli('get', 'volumes', ...asEva)).code).toBe(0);
    expect(await cli('create', 'user', '--with-username', 'nobody')).toMatchObject({
      code: 10,
      err: expect.stringContaining('--with-password'),
    });
  });

  it('change their own password', async () => {
    await cli('create', 'user', '--with-username', 'eva', '--with-password', 'long enough', '--with-admin');
    const asEva = (password: string) => ['--username', 'eva', '--password', password, '--no-auth-cache'];
    expect((await cli('update', 'user', 'eva', '--with-password', 'even longer', ...asEva('long enough'))).code).toBe(
      0,
    );
    expect((await cli('get', 'nodes', ...asEva('long enough'))).code).toBe(6);
    expect((await cli('get', 'nodes', ...asEva('even longer'))).code).toBe(0);
    expect((await cli('update', 'user', 'eva')).code).toBe(10);
  });
});
