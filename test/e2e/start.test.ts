import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SupervisedChild } from '../../cluster/child.js';
import { DataDir, type Layout } from '../../cluster/data-dir.js';
import { type ClusterFacts, readFacts } from '../../cluster/facts.js';
import { PortClaims } from '../../cluster/ports.js';
import { identifyProcess } from '../../cluster/process-identity.js';
import { settlePorts, startEtcd, startTemporal } from '../../cluster/servers.js';
import { freeNetwork, temporaryDirectory } from '../../cluster/site.js';
import { mountsBelow, noDeviceReason, releaseStaleMounts } from '../../cluster/volumes.js';
import { waitFor } from '../../cluster/wait.js';
import { packageRoot } from '../../node-agent/package-root.js';
import { RunningCommand, runCommandLine } from '../setup/command.js';

/** The last thing that it says when all is up: what comes before has arrived by then. */
const UP = 'Ctrl-C stops everything';
const UP_TIMEOUT_MS = 180_000;
const NOTE = 'written before the stop\n';

let directory: string;
let network: number;
let running: RunningCommand | undefined;

beforeAll(async () => {
  directory = temporaryDirectory('start');
  network = await freeNetwork(3);
});

afterAll(async () => {
  if (running?.running) {
    running.signal('SIGTERM');
    await running.exited;
  }
  await releaseStaleMounts(join(directory, 'mnt'));
  rmSync(directory, { recursive: true, force: true });
});

async function start(options: ConstructorParameters<typeof RunningCommand>[2] = {}): Promise<ClusterFacts> {
  const args = ['--data-dir', directory, '--network', String(network)];
  running = new RunningCommand('cluster/start.js', args, options);
  await running.untilSays(UP, UP_TIMEOUT_MS);
  return readFacts(join(directory, 'cluster.json'));
}

function pidsOf(facts: ClusterFacts): number[] {
  const pids = [facts.etcd.pid, facts.temporal.pid, ...facts.nodes.map(({ pid }) => pid)];
  return pids.filter((pid) => pid !== undefined);
}

async function untilGone(pids: readonly number[]): Promise<void> {
  await waitFor(
    'all processes to be gone',
    () => pids.every((pid) => identifyProcess(pid) === undefined) || undefined,
    {
      timeoutMs: 60_000,
    },
  );
}

/** Processes and all that they started. */
function family(pids: readonly number[]): Set<number> {
  const children = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));
  const found = new Set(pids);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [pid, parent] of children) if (found.has(parent!)) found.add(pid!);
  }
  return found;
}

describe('npm start', () => {
  const note = () => join(directory, 'mnt', 'demo', 'note.txt');
  const mounted = noDeviceReason() === undefined;

  it('ends in a mounted, replicated volume, and says what is where', async () => {
    const facts = await start();
    expect(facts.nodes.map(({ state }) => state)).toEqual(['running', 'running', 'running']);
    expect(statSync(facts.credentialsFile).mode & 0o777).toBe(0o600);
    const { password } = JSON.parse(readFileSync(facts.credentialsFile, 'utf8'));
    expect(running!.output).not.toContain(password);
    const demo = facts.volumes.find(({ name }) => name === 'demo');
    expect(demo).toMatchObject({ namespace: 'default', attachedOn: 'node1' });
    expect(running!.output).toContain(demo!.nbdUri);
    expect((await fetch(facts.temporal.ui!)).ok).toBe(true);
    if (mounted) {
      expect(demo).toMatchObject({ mountPoint: join(directory, 'mnt', 'demo') });
      writeFileSync(note(), NOTE);
    } else {
      expect(running!.output).toContain('The demo volume is not mounted');
    }
  });

  it('listens on loopback addresses only', () => {
    const facts = readFacts(join(directory, 'cluster.json'));
    const ours = family(pidsOf(facts));
    const sockets = execFileSync('ss', ['-H', '-l', '-n', '-p', '-t', '-u'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => [...line.matchAll(/pid=(\d+)/g)].some((match) => ours.has(Number(match[1]))));
    expect(sockets.length).toBeGreaterThanOrEqual(2 + 3 * 3);
    const addresses = sockets.map((line) => line.trim().split(/\s+/)[4]!);
    expect(addresses.filter((address) => !/^(127\.|\[::ffff:127\.|\[::1\])/.test(address))).toEqual([]);
  });

  it('is refused a second time on the same data directory, with the process that has it', async () => {
    const second = await runCommandLine('cluster/start.js', ['--data-dir', directory]);
    expect(second.code).toBe(1);
    expect(second.output).toContain(`already running on ${directory} (process ${running!.pid})`);
    expect(readFacts(join(directory, 'cluster.json')).pid).toBe(running!.pid);
  });

  it('names the port that is taken, and what to do', async () => {
    const other = temporaryDirectory('start-other');
    try {
      const second = await runCommandLine('cluster/start.js', ['--data-dir', other, '--network', String(network)]);
      expect(second.code).toBe(1);
      expect(second.output).toMatch(new RegExp(`127\\.0\\.${network}\\.1:57\\d\\d is in use.*--network`, 's'));
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  it('lets nodes be killed, and started again', async () => {
    const manage = (...args: string[]) => runCommandLine('cluster/manage.js', [...args, '--data-dir', directory]);
    const { pid } = readFacts(join(directory, 'cluster.json')).nodes[2]!;
    expect(await manage('kill-node', 'node3')).toEqual({ code: 0, output: 'node3 is killed.\n' });
    expect(identifyProcess(pid!)).toBeUndefined();
    expect((await manage('kill-node', 'node3')).output).toContain('node3 is not running (killed)');
    expect((await manage('kill-node', 'node9')).output).toContain('There is no node "node9"');
    expect((await manage('status')).output).toMatch(/node3\s+killed/);
    expect(await manage('start-node', 'node3')).toEqual({ code: 0, output: 'node3 is running.\n' });
  });

  it('serves the CLI with the credentials that it made', async () => {
    const facts = readFacts(join(directory, 'cluster.json'));
    const { username, password } = JSON.parse(readFileSync(facts.credentialsFile, 'utf8'));
    const env = {
      PATH: process.env.PATH,
      HOME: directory,
      STORAGEOS_ENDPOINTS: facts.nodes[1]!.apiEndpoint,
      STORAGEOS_USERNAME: username,
      STORAGEOS_PASSWORD: password,
    };
    const volumes = await runCommandLine('cli/main.js', ['get', 'volumes'], { env });
    expect(volumes.output).toMatch(/^default\s+demo\s+1\.0 GiB\s+node\d \(online\)\s+node1\s/m);
    expect(volumes.code).toBe(0);
    const licence = await runCommandLine('cli/main.js', ['get', 'licence'], { env });
    expect(licence.output).toMatch(/^Kind:\s+developer$/m);
    const wrong = { ...env, STORAGEOS_PASSWORD: 'something else', STORAGEOS_NO_AUTH_CACHE: 'true' };
    expect((await runCommandLine('cli/main.js', ['get', 'volumes'], { env: wrong })).code).not.toBe(0);
  });

  it('compares the copies of a volume by a command', async () => {
    if (mounted) execFileSync('sync', ['--file-system', join(directory, 'mnt', 'demo')]);
    const verify = (volume: string) => runCommandLine('cluster/manage.js', ['verify', volume, '--data-dir', directory]);
    const compared = await waitFor(
      'the volume to be quiet and replicated',
      async () => {
        const result = await verify('default/demo');
        return result.code === 0 && /node\d.*\n.*node\d/.test(result.output) ? result : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 500 },
    );
    expect(compared.output).toContain('All copies hold the same blocks with the same orders and checksums.');
    expect(await verify('nothing')).toMatchObject({
      code: 1,
      output: expect.stringContaining('no volume default/nothing'),
    });
  });

  it('stops cleanly at Ctrl-C and leaves nothing running or mounted', async () => {
    const pids = pidsOf(readFacts(join(directory, 'cluster.json')));
    running!.signal('SIGINT');
    expect(await running!.exited).toBe(0);
    await untilGone(pids);
    expect(mountsBelow(directory)).toEqual([]);
    expect(existsSync(join(directory, 'cluster.json'))).toBe(false);
  });

  it('starts again without any network, with all data', async () => {
    const facts = await start({ launcher: ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'] });
    expect(facts.volumes.map(({ name }) => name)).toEqual(['demo']);
    if (mounted) expect(readFileSync(note(), 'utf8')).toBe(NOTE);
  });

  it('is found as it was after the supervisor itself was killed', async () => {
    const pids = pidsOf(readFacts(join(directory, 'cluster.json')));
    running!.signal('SIGKILL');
    await running!.exited;
    // Agents end by themselves; the servers are ended by the next start.
    const facts = await start();
    await untilGone(pids);
    expect(facts.volumes.map(({ name }) => name)).toEqual(['demo']);
    if (mounted) expect(readFileSync(note(), 'utf8')).toBe(NOTE);
  });

  it('can be destroyed, with a node killed that had a volume mounted', async () => {
    const { nodes, volumes } = readFacts(join(directory, 'cluster.json'));
    expect(volumes[0]!.attachedOn).toBe(nodes[0]!.name);
    const manage = (...args: string[]) => runCommandLine('cluster/manage.js', [...args, '--data-dir', directory]);
    expect((await manage('kill-node', nodes[0]!.name)).code).toBe(0);
    expect(await manage('destroy')).toEqual({ code: 0, output: `${directory} is gone.\n` });
    expect(await running!.exited).toBe(0);
    expect(existsSync(directory)).toBe(false);
    expect(mountsBelow(directory)).toEqual([]);
    const loops = readdirSync('/sys/block').map((name) => join('/sys/block', name, 'loop/backing_file'));
    const files = loops.filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8'));
    expect(files.filter((file) => file.includes(volumes[0]!.id))).toEqual([]);
  });
});

describe('npm start with servers that run already', () => {
  it('uses them, and starts none', async () => {
    const other = temporaryDirectory('start-external');
    const site = { dataDir: new DataDir(join(other, 'servers')), layout: await externalLayout() };
    site.dataDir.create();
    const servers: SupervisedChild[] = [];
    const command = { running: undefined as RunningCommand | undefined };
    try {
      await startEtcd({ ...site, executable: process.env.ETCD_PATH! }, (child) => servers.push(child));
      await startTemporal({ ...site, executable: process.env.TEMPORAL_PATH! }, (child) => servers.push(child));
      const dataDir = join(other, 'data');
      const args = ['--data-dir', dataDir, '--network', String(await freeNetwork(3)), '--bare'];
      const { etcdClient, temporal } = site.layout.ports;
      command.running = new RunningCommand('cluster/start.js', args, {
        env: {
          PATH: process.env.PATH,
          // Whoever wanted them would fail.
          ETCD_PATH: '/nowhere/etcd',
          TEMPORAL_PATH: '/nowhere/temporal',
          STORAGEOS_ETCD_ENDPOINTS: `127.0.0.1:${etcdClient}`,
          TEMPORAL_ADDRESS: `127.0.0.1:${temporal}`,
          ETCD_NAMESPACE: 'elsewhere',
        },
      });
      await command.running.untilSays(UP, UP_TIMEOUT_MS);
      const facts = readFacts(join(dataDir, 'cluster.json'));
      expect(facts.etcd).toEqual({ endpoints: [`127.0.0.1:${etcdClient}`] });
      expect(facts.temporal).toEqual({ address: `127.0.0.1:${temporal}`, namespace: 'default' });
    } finally {
      command.running?.signal('SIGTERM');
      await command.running?.exited;
      for (const server of servers.reverse()) await server.stop(10_000);
      rmSync(other, { recursive: true, force: true });
    }
    expect(await command.running?.exited).toBe(0);
  });

  const claims = new PortClaims();
  afterAll(() => claims.release());

  async function externalLayout(): Promise<Layout> {
    return { format: 1, network: 0, nodes: [], ports: await settlePorts(undefined, claims) };
  }
});

describe('npm start in trouble', () => {
  it('says what to do when etcd can not be had', async () => {
    const other = temporaryDirectory('start-bare');
    try {
      const env = { PATH: '/nowhere', HOME: other, STORAGEOS_ETCD_RELEASES: 'http://127.0.0.1:1/none' };
      const args = ['--data-dir', join(other, 'data'), '--network', String(await freeNetwork(3))];
      const { code, output } = await runCommandLine('cluster/start.js', args, { env });
      expect(code).toBe(1);
      expect(output).toContain('sudo apt-get install etcd-server');
      expect(output).not.toContain('    at ');
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  it.each([
    [['--nodes', '0'], '--nodes takes a whole number from 1 to 16'],
    [['--nodes', 'many'], '--nodes takes a whole number from 1 to 16'],
    [['--frobnicate'], 'npm start -- [options]'],
  ])('refuses %j', async (args, message) => {
    const { code, output } = await runCommandLine('cluster/start.js', args);
    expect(code).toBe(1);
    expect(output).toContain(message);
  });

  it.each([
    ['cluster/start.js', 'npm start -- [options]'],
    ['cluster/manage.js', 'npm run cluster -- <command>'],
  ])('%s tells what there is', async (program, usage) => {
    const { code, output } = await runCommandLine(program, ['--help']);
    expect(output.startsWith(usage)).toBe(true);
    expect(code).toBe(0);
  });

  const nobody = 65_534;
  const readable = openToOthers(packageRoot());

  it.skipIf(process.getuid?.() !== 0 || !readable)('without root, has the volume over NBD and says why', async () => {
    const other = temporaryDirectory('start-nobody');
    execFileSync('chown', [String(nobody), other]);
    const args = ['--data-dir', join(other, 'data'), '--network', String(await freeNetwork(3))];
    const env = { ...process.env, HOME: other, ...programsFor(other) };
    const command = new RunningCommand('cluster/start.js', args, { uid: nobody, env });
    try {
      await command.untilSays(UP, UP_TIMEOUT_MS);
      expect(command.output).toContain('not mounted, it is there over NBD: making block devices needs root');
      const uri = /nbd\+unix:\S+/.exec(command.output)![0];
      expect(execFileSync('nbdinfo', ['--size', uri], { encoding: 'utf8' }).trim()).toBe(String(2 ** 30));
    } finally {
      command.signal('SIGTERM');
      await command.exited;
      rmSync(other, { recursive: true, force: true });
    }
    expect(await command.exited).toBe(0);
  });
});

/** Whether another user may read what is below a folder: the way to it and itself. */
function openToOthers(folder: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o005) !== 0o005) return false;
    if (at === dirname(at)) return true;
  }
}

/** Copies of the programs that the tests use, where another user may run them. */
function programsFor(folder: string): NodeJS.ProcessEnv {
  const paths: NodeJS.ProcessEnv = {};
  for (const name of ['ETCD_PATH', 'TEMPORAL_PATH']) {
    paths[name] = join(folder, name);
    copyFileSync(process.env[name]!, paths[name]);
  }
  return paths;
}
