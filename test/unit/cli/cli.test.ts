import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { DomainError } from '../../../core/errors.js';
import type { DeploymentStatus } from '../../../core/messages.js';
import type { NodeId } from '../../../core/types.js';
import { ADMIN, type Fixture } from '../api/fixture.js';
import { type CliHarness, freshHarness } from './harness.js';

const UNDERSTOOD = '--i-understand-that-this-value-will-be-overwritten-by-kubernetes';

let harness: CliHarness;
let api: Fixture;
let directory: string;
let env: Record<string, string>;
let cli: CliHarness['cli'];
let json: CliHarness['json'];

freshHarness((fresh) => {
  harness = fresh;
  ({ api, directory, env, cli, json } = fresh);
});

describe('a volume by command line', () => {
  it('is created, shown, attached, changed and deleted', async () => {
    expect((await cli('get', 'volumes')).out).toBe('NAMESPACE  NAME  SIZE  LOCATION  ATTACHED ON  REPLICAS  AGE\n');
    const created = await cli('create', 'volume', 'data', '-s', '5GiB', '-r', '1', '-l', 'app=x', '-d', 'some data');
    expect(created.code).toBe(0);
    expect(created.out.split('\n')[1]).toMatch(
      /^default +data +5\.0 GiB +node-1 \(online\) +1\/1 +(?:\d+ seconds? ago|now)$/,
    );

    const { id } = await json('get', 'volume', 'data');
    expect(await json('get', 'volume', 'data')).toMatchObject({
      namespaceName: 'default',
      description: 'some data',
      filesystem: 'ext4',
      attachedOnName: '',
      labels: {
        app: 'x',
        'storageos.com/nocache': 'false',
        'storageos.com/nocompress': 'false',
        'storageos.com/replicas': '1',
        'storageos.com/throttle': 'false',
      },
      master: { nodeName: 'node-1', health: 'online' },
      replicas: [{ nodeName: 'node-2', health: 'ready' }],
    });

    const attached = await cli('attach', 'data', 'node-3');
    expect(attached).toMatchObject({ code: 0, out: expect.stringMatching(`${id}.*node-3`) });
    expect((await cli('get', 'volume')).out).toMatch(/node-1 \(online\) {2}node-3 {6,}1\/1/);
    expect(await cli('attach', 'data', 'node-2')).toMatchObject({ code: 11, err: expect.stringContaining('node-3') });
    expect(await cli('delete', 'volume', 'data')).toMatchObject({ code: 11 });
    const described = (await cli('describe', 'volume', 'data')).out;
    expect(described).toMatch(/AttachedOn +node-3 \([0-9a-f-]{36}\)/);
    expect(described).toMatch(/Size +5\.0 GiB \(5368709120 bytes\)/);
    expect(described).toMatch(/Created at +\d{4}-\d\d-\d\dT[\d:]+Z \(.*\)/);
    expect(described).toMatch(/Replicas:\n {2}ID/);
    expect(described).toMatch(/Bad Blocks +n\/a\n +Scrub +n\/a/);

    const replicas = await cli('update', 'volume', 'replicas', UNDERSTOOD, 'data', '2');
    expect(replicas.code).toBe(0);
    expect(replicas.out).toMatch(/converges/);
    expect((await json('get', 'volume', 'data')).labels['storageos.com/replicas']).toBe('2');
    expect((await cli('detach', 'data')).code).toBe(0);
    expect((await cli('delete', 'volume', 'data', '--offline-delete=false')).code).toBe(0);
    expect(await json('get', 'volumes')).toEqual([]);
    expect(api.controller.calls.at(-1)).toBe('remove');
  });

  it('labels are replaced, added or taken away; description and failure mode change', async () => {
    await cli('create', 'volume', 'data', '-l', 'a=1,b=2');
    const labels = async () => {
      const all = Object.entries((await json('get', 'volume', 'data')).labels);
      return Object.fromEntries(all.filter(([key]) => !key.startsWith('storageos.com/')));
    };
    const update = (...args: string[]) => cli('update', 'volume', 'labels', 'data', ...args);
    expect(await update('a=3')).toMatchObject({ code: 10, err: expect.stringContaining('kubernetes') });
    expect((await update('c=3', '--upsert', `${UNDERSTOOD}=false`)).code).toBe(0);
    expect(await labels()).toEqual({ a: '1', b: '2', c: '3' });
    expect((await update('a', 'b=2', '--delete', UNDERSTOOD)).code).toBe(0);
    expect(await labels()).toEqual({ c: '3' });
    expect((await update('d=4,e=5', UNDERSTOOD)).code).toBe(0);
    expect(await labels()).toEqual({ d: '4', e: '5' });
    expect(await update('storageos.com/replicas=3', UNDERSTOOD)).toMatchObject({ code: 10 });
    expect((await cli('update', 'volume', 'description', 'data', 'now with text')).out).toContain('now with text');
    expect((await cli('update', 'volume', 'failure-mode', 'data', 'alwayson', UNDERSTOOD)).code).toBe(0);
    expect((await cli('update', 'volume', 'failure-mode', 'data', '2', UNDERSTOOD)).code).toBe(11);
    expect((await cli('update', 'volume', 'failure-mode', 'data', 'often', UNDERSTOOD)).code).toBe(10);
    expect((await json('get', 'volume', 'data')).labels['storageos.com/failure-mode']).toBe('alwayson');
  });

  it('--cas insists on a version', async () => {
    await cli('create', 'volume', 'data');
    const { version } = await json('get', 'volume', 'data');
    expect((await cli('update', 'volume', 'description', 'data', 'x', '--cas', version)).code).toBe(0);
    expect((await cli('update', 'volume', 'description', 'data', 'y', '--cas', version)).code).toBe(12);
    expect((await cli('delete', 'volume', 'data', '--cas', version)).code).toBe(12);
  });

  it('--async does not wait', async () => {
    const answer = await cli('create', 'volume', 'data', '--async', '--timeout', '7s');
    expect(answer).toMatchObject({ code: 0, out: expect.stringContaining('accepted') });
    expect(api.controller.calls).toEqual(['provision 7000']);
  });

  it('--compress=false and --cache=false are understood', async () => {
    await cli('create', 'volume', 'data', '--compress=false', '--cache=false', '--throttle=true');
    expect((await json('get', 'volume', 'data')).labels).toEqual({
      'storageos.com/nocache': 'true',
      'storageos.com/nocompress': 'true',
      'storageos.com/throttle': 'true',
    });
  });
});

describe('the copies of a volume', () => {
  it('are described with what they say of their blocks', async () => {
    await cli('create', 'volume', 'data', '-s', '5GiB', '-r', '1');
    const { master, replicas } = await json('get', 'volume', 'data');
    const scrub = { doneBytes: 4 * 1024 ** 3, totalBytes: 10 * 1024 ** 3, passes: 3, endedMs: 1_700_000_000_000 };
    api.statuses.set(master.id, { badBlocks: 2, scrub } as DeploymentStatus);
    const never = { doneBytes: 0, totalBytes: 0, passes: 0, endedMs: null };
    api.statuses.set(replicas[0].id, { badBlocks: 0, scrub: never } as DeploymentStatus);
    const described = (await cli('describe', 'volume', 'data')).out;
    expect(described).toMatch(/Master:[\s\S]*Bad Blocks +2\n[\s\S]*Replicas:[\s\S]*Bad Blocks +0\n/);
    expect(described).toMatch(
      /Scrub +40% \(4\.0 GiB\/10 GiB\), 3 passes, the last one ended 2023-11-14T22:13:20Z \(.* ago\)\n/,
    );
    expect(described).toMatch(/Scrub +0% \(0 B\/0 B\), 0 passes$/m);
    const { endedMs: _, ...progress } = scrub;
    expect((await json('describe', 'volume', 'data')).master).toMatchObject({
      badBlocks: 2,
      scrub: { ...progress, lastPassEndedAt: '2023-11-14T22:13:20.000Z' },
    });
  });
});

describe('objects', () => {
  it('nodes in text, JSON and YAML', async () => {
    expect((await cli('get', 'nodes')).out).toMatch(/^NAME {4}HEALTH {2}AGE\n/);
    await cli('create', 'volume', 'data', '-r', '1');
    const described = (await cli('describe', 'node', 'node-2')).out;
    expect(described).toMatch(/Clustering address +127\.0\.0\.9:5710/);
    expect(described).toMatch(/Available capacity +745 GiB \(93 GiB in use\)/);
    expect(described).toMatch(/NAMESPACE {2}VOLUME {2}DEPLOYMENT ID.*\n +default +data +[0-9a-f-]{36} +ready +replica/);
    expect(described).not.toContain('Unusable');
    const { value } = await api.state.nodes.require(api.nodes[1] as never);
    await api.state.nodeRecords.report(value.id, { capacity: value.capacity, unusableCopies: 3, closed: [] });
    await vi.waitFor(async () =>
      expect((await cli('describe', 'node', 'node-2')).out).toMatch(/Unusable copies +3, which the node cannot open/),
    );
    expect(await json('get', 'node', 'node-1')).toMatchObject({ name: 'node-1', gossipAddress: '127.0.0.9:5711' });
    expect((await json('describe', 'node', 'node-1')).volumes).toMatchObject([
      { name: 'data', localDeployment: { kind: 'master' } },
    ]);
    expect(parse((await cli('get', 'node', '-o', 'yaml')).out)[0]).toMatchObject({ clusteringAddr: '127.0.0.9:5710' });
    expect((await cli('get', 'node', '-o', 'json')).out).toMatch(/^\[\n\t\{\n\t\t"id"/);
    expect((await cli('cordon', 'node-1')).code).toBe(0);
    expect((await api.state.nodes.require(api.nodes[0] as never)).value.cordoned).toBe(true);
    expect((await cli('uncordon', 'node-1')).code).toBe(0);
  });

  it('namespaces, users and the cluster', async () => {
    expect((await cli('create', 'namespace', 'apps', '-l', 'team=a')).code).toBe(0);
    expect((await cli('create', 'namespace', 'apps')).code).toBe(9);
    expect((await cli('get', 'namespaces')).out).toMatch(/^NAME {5}AGE\n/);
    expect(await json('get', 'namespaces', '-l', 'team=a')).toMatchObject([{ name: 'apps' }]);
    expect((await cli('create', 'volume', 'data', '-n', 'apps')).code).toBe(0);
    expect(await json('get', 'volumes')).toEqual([]);
    expect(await json('get', 'volumes', '-A')).toMatchObject([{ name: 'data', namespaceName: 'apps' }]);
    expect((await cli('delete', 'namespace', 'apps')).code).toBe(11);
    expect((await cli('create', 'user', '--with-username', 'eva', '--with-password', 'long enough')).code).toBe(0);
    expect((await cli('get', 'users')).out).toMatch(/storageos +admin/);
    expect((await cli('get', 'cluster')).out).toMatch(/Nodes: +3\n +Healthy: +3\n +Unhealthy: +0/);
    expect((await cli('describe', 'cluster')).out).toMatch(/Telemetry +Disabled/);
    expect((await cli('get', 'licence')).out).toMatch(/Capacity: +50 GiB \(53687091200\)/);
  });

  it('are chosen by labels, every one of which must match, but not by labels and names', async () => {
    await cli('create', 'volume', 'one', '-l', 'a=1,b=1');
    await cli('create', 'volume', 'two', '-l', 'a=1,b=2');
    const names = async (...args: string[]) =>
      (await json('get', 'volumes', ...args)).map(({ name }: { name: string }) => name).sort();
    expect(await names('-l', 'a')).toEqual(['one', 'two']);
    expect(await names('-l', 'a=1', '-l', 'b=2')).toEqual(['two']);
    expect(await names('-l', 'c')).toEqual([]);
    expect(await cli('get', 'volumes', 'one', '-l', 'a')).toMatchObject({
      code: 10,
      err: expect.stringMatching(/target.*selector/),
    });
  });

  it('are meant by id with --use-ids, the namespace too', async () => {
    await cli('create', 'volume', 'data');
    const { id, namespaceID } = await json('get', 'volume', 'data');
    expect((await cli('get', 'volume', id)).code).toBe(8);
    expect(await cli('get', 'volume', id, '--use-ids')).toMatchObject({
      code: 8,
      err: expect.stringContaining('default'),
    });
    expect(await json('get', 'volume', id, '--use-ids', '-n', namespaceID)).toMatchObject({ name: 'data' });
  });
});

describe('sessions', () => {
  it('are kept in a private file and renewed once when they are refused', async () => {
    expect((await cli('get', 'nodes')).code).toBe(0);
    const cache = join(directory, '.cache', 'storageos');
    const [file = ''] = readdirSync(cache);
    expect(file).toMatch(/^[0-9a-f]{128}$/);
    expect(statSync(cache).mode & 0o777).toBe(0o700);
    expect(statSync(join(cache, file)).mode & 0o777).toBe(0o600);
    // With a session there is no login.
    env.STORAGEOS_PASSWORD = 'wrong';
    expect((await cli('get', 'nodes')).code).toBe(0);
    writeFileSync(join(cache, file), JSON.stringify({ token: 'stale', expiresAt: '2099-01-01T00:00:00Z' }));
    expect((await cli('get', 'nodes')).code).toBe(6);
    env.STORAGEOS_PASSWORD = ADMIN.password;
    writeFileSync(join(cache, file), JSON.stringify({ token: 'stale', expiresAt: '2099-01-01T00:00:00Z' }));
    expect((await cli('get', 'nodes')).code).toBe(0);
    expect(JSON.parse(readFileSync(join(cache, file), 'utf8')).token).not.toBe('stale');
  });

  it('--no-auth-cache writes nothing', async () => {
    expect((await cli('get', 'nodes', '--no-auth-cache')).code).toBe(0);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('the password may come from a command', async () => {
    delete env.STORAGEOS_PASSWORD;
    env.STORAGEOS_PASSWORD_COMMAND = `printf '%s\\n' ${ADMIN.password}`;
    expect((await cli('get', 'nodes')).code).toBe(0);
    env.STORAGEOS_PASSWORD_COMMAND = 'exit 3';
    expect((await cli('get', 'nodes', '--no-auth-cache')).code).toBe(10);
  });
});

describe('the configuration file', () => {
  const withFile = (content: string) => {
    const path = join(directory, 'config.yaml');
    writeFileSync(path, content);
    return path;
  };

  it('comes after flags and environment', async () => {
    env.STORAGEOS_CONFIG = withFile('output: json\nnamespace: nowhere\n');
    expect((await cli('get', 'nodes')).out).toMatch(/^\[/);
    expect((await cli('get', 'volumes')).code).toBe(8);
    env.STORAGEOS_NAMESPACE = 'default';
    expect((await cli('get', 'volumes')).code).toBe(0);
    expect((await cli('get', 'volumes', '-o', 'text')).out).toMatch(/^NAMESPACE/);
  });

  it.each(['password: secret', 'unknown: x', 'username:', 'username: ""', '- a list', '{', 'timeout: soon'])(
    'with "%s" is an error',
    async (content) => {
      const answer = await cli('get', 'nodes', '-c', withFile(content));
      expect(answer.code).toBe(10);
      expect(answer.err).not.toContain('secret');
    },
  );

  it('that is named must be there', async () => {
    expect((await cli('get', 'nodes', '-c', join(directory, 'none.yaml'))).code).toBe(10);
  });
});

describe('exit codes', () => {
  it.each([
    [['get', 'volume', 'nothing'], 8],
    [['get', 'nodes', '-o', 'xml'], 10],
    [['get', 'nodes', '--timeout', 'long'], 10],
    [['get', 'nodes', '--nonsense'], 10],
    [['fetch'], 10],
    [['create', 'volume', 'data', '-s', 'big'], 10],
    [['create', 'volume', 'data', '-s', '1MiB'], 10],
    [['create', 'volume', 'data', '-r', '6'], 10],
    [['create', 'volume', 'Data'], 10],
    [['get', 'nodes', '--endpoints', 'ftp://x'], 10],
    [['get', 'nodes', '--endpoints', '127.0.0.1:1'], 1],
    [['--version'], 0],
    [['--help'], 0],
    [['get', '--help'], 0],
    [['version'], 0],
  ])('storageos %j ends with %i', async (args, code) => {
    expect((await cli(...args)).code).toBe(code);
  });

  it('tell what the API said', async () => {
    await cli('create', 'volume', 'data');
    expect(await cli('create', 'volume', 'data')).toMatchObject({
      code: 9,
      err: expect.stringMatching(/^Error: .*data/),
    });
    const failures: [DomainError, number][] = [
      [new DomainError('controller-unavailable', 'Temporal is away'), 12],
      [new DomainError('locked', 'entity locked'), 14],
      [new DomainError('internal', 'a defect'), 13],
      [new DomainError('licence', 'too much'), 5],
    ];
    for (const [failure, code] of failures) {
      api.controller.failure = failure;
      expect(await cli('attach', 'data', 'node-1')).toMatchObject({
        code,
        err: expect.stringMatching(new RegExp(`^Error: ${failure.message}\n`)),
      });
    }
    expect((await cli('get', 'nodes', '--password', 'wrong', '--no-auth-cache')).code).toBe(6);
    await cli('create', 'user', '--with-username', 'eva', '--with-password', 'long enough');
    expect((await cli('create', 'namespace', 'x', '--username', 'eva', '--password', 'long enough')).code).toBe(7);
  });

  it('a server that does not answer in time is 124', async () => {
    api.controller.attach = () => new Promise((resolve) => setTimeout(resolve, 1500));
    await cli('create', 'volume', 'data');
    expect((await cli('attach', 'data', 'node-1', '--timeout', '500ms')).code).toBe(124);
  });
});

describe('operations', () => {
  it('are shown with progress and obstacles, of the namespace or of all', async () => {
    await cli('create', 'volume', 'data');
    const { id, namespaceID } = await json('get', 'volume', 'data');
    const node = api.nodes[1] as NodeId;
    const startedAt = new Date(Date.now() - 90_000).toISOString();
    const about = { volume: id, node, startedAt };
    const progress = {
      percent: 40.9,
      blocksDone: 4,
      blocksTotal: 10,
      bytesCopied: 3 * 2 ** 20,
      bytesPerSecond: 2 ** 20,
      secondsLeft: 6,
    };
    api.operations.push(
      { ...about, id: `volume/${id}/sync/x`, kind: 'DeltaSync', summary: 'Bring copy x up to date', progress },
      { ...about, id: `volume/${id}`, kind: 'Volume', summary: 'degraded', waitsFor: 'node-3' },
      { id: `fence-node/${node}`, kind: 'FenceNode', node, startedAt, summary: 'it is dead' },
    );
    const { out } = await cli('operations', 'data');
    expect(out.split('\n')).toEqual([
      'NAMESPACE  VOLUME  OPERATION  NODE    STARTED       PROGRESS                       STATE',
      'default    data    DeltaSync  node-2  1 minute ago  40% (3.0 MiB copied, 6s left)  Bring copy x up to date',
      'default    data    Volume     node-2  1 minute ago                                 degraded; node-3',
      '',
    ]);
    expect(await json('operations', '-n', 'default')).toHaveLength(2);
    const all = await json('operations', '-A');
    expect(all).toHaveLength(3);
    expect(all[0]).toMatchObject({ volumeID: id, namespaceID, namespaceName: 'default', nodeName: 'node-2', progress });
    expect(await json('operations', 'other')).toEqual([]);
    const watched = await cli('operations', '--watch', '--timeout', '1500ms');
    expect(watched.code).toBe(0);
    expect(watched.out.match(/^NAMESPACE/gm)?.length).toBeGreaterThan(1);
  });
});

describe('terminals', () => {
  const GREEN = '\u001b[32m';
  const RED = '\u001b[31m';

  it('have colours for what is well and what is not', async () => {
    api.offline.add(api.nodes[2] as NodeId);
    const { out } = await harness.with({ colours: true }, 'get', 'nodes');
    expect(out).toContain(`${GREEN}online\u001b[0m `);
    expect(out).toContain(`${RED}offline\u001b[0m `);
    const plain = (await cli('get', 'nodes')).out;
    expect(plain).not.toContain('\u001b');
    expect(out.replaceAll(GREEN, '').replaceAll(RED, '').replaceAll('\u001b[0m', '')).toBe(plain);
  });

  it('and programs see wide tables', async () => {
    await cli('create', 'volume', 'data', '-r', '1', '-l', 'app=web');
    const { id } = await json('get', 'volume', 'data');
    const [header, row] = (await cli('get', 'volumes', '-o', 'wide')).out.split('\n');
    expect(header).toMatch(
      /^NAMESPACE +NAME +SIZE +LOCATION +ATTACHED ON +REPLICAS +AGE +REPLICA NODES +FILESYSTEM +ID +/,
    );
    expect(row).toMatch(new RegExp(`node-2 \\(ready\\) +ext4 +${id} +app=web,`));
    expect((await cli('get', 'nodes', '-o', 'wide')).out).toMatch(
      /^NAME +HEALTH +AGE +CORDONED +AVAILABLE +TOTAL +ADDRESS/,
    );
  });
});

describe('--wait', () => {
  it('shows how far the replicas are, and ends when they are as wanted', async () => {
    await cli('create', 'volume', 'data', '-r', '1');
    const { id } = await json('get', 'volume', 'data');
    const waiting = cli('update', 'volume', 'replicas', 'data', '0', '--wait', '--timeout', '20s', UNDERSTOOD);
    await expect.poll(async () => (await json('get', 'volume', 'data')).labels['storageos.com/replicas']).not.toBe('1');
    // What the volume's workflow does: the surplus copy goes.
    await api.state.memberships.update(id, (record) => ({ ...record, inSync: record.inSync.slice(0, 1) }));
    await api.state.volumes.update(id, (volume) => ({ ...volume, placements: volume.placements.slice(0, 1) }));
    const { code, err } = await waiting;
    expect([code, err]).toEqual([0, expect.stringMatching(/^data: 1 of 0 .*\ndata: 0 of 0 replicas in sync\n$/)]);
  });

  it('says that it goes on when the time is over', async () => {
    await cli('create', 'volume', 'data');
    const late = await cli('update', 'volume', 'replicas', 'data', '2', '--wait', '--timeout', '1s', UNDERSTOOD);
    expect(late).toMatchObject({ code: 124, err: expect.stringContaining('goes on in the background') });
  });
});
