import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../../core/ports.js';
import type { Generation, VolumeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { FrontendHost } from '../../../node-agent/frontend/host.js';
import { checkSocketPath } from '../../../node-agent/frontend/nbd-server.js';
import { RangeLock } from '../../../node-agent/frontend/range-lock.js';
import { SessionCounter } from '../../../node-agent/frontend/session-counter.js';
import { openWorld, testVolume, type World } from './attached-volume.js';
import { FakeClock, membership, placements } from './fakes.js';

const run = promisify(execFile);

describe('FrontendHost', () => {
  let world: World;
  const id = randomUUID() as VolumeId;

  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  const another = (name: string, clock: Clock = systemClock): Promise<FrontendHost> =>
    FrontendHost.open({
      ...{ socketDir: join(world.directory, name), stateDir: world.directory, codec: world.codec },
      ...{ clock, random: systemRandom },
      connector: { connect: (target, events) => world.primaryOf(target.volume).connect(target, events) },
      membership: () => ({ record: membership(1, 0), placements }),
      events: { attention: () => {}, fenced: () => {}, log: () => {} },
    });

  it('shows an attached volume on a socket that only the owner may open, until it is detached', async () => {
    const attached = await world.attach(testVolume({ id }));
    expect(attached.socketPath).toBe(join(world.directory, 's', `${id}.nbd.sock`));
    expect(attached.nbdUri).toBe(`nbd+unix:///?socket=${attached.socketPath}`);
    expect(statSync(attached.socketPath).mode & 0o777).toBe(0o600);
    expect(world.host.list().map(({ volume }) => volume)).toEqual([id]);
    await world.host.detach(id);
    await world.host.detach(id);
    expect(existsSync(attached.socketPath)).toBe(false);
    expect(world.host.list()).toEqual([]);
  });

  it('attaches once for a generation, replaces an older one, refuses to go back', async () => {
    const volume = testVolume({ id });
    const [first, again] = await Promise.all([world.attach(volume), world.attach(volume)]);
    expect(again.frontend.session).toBe(first.frontend.session);
    await world.attach(volume, { generation: 3 });
    expect(world.host.get(id)?.generation).toBe(3);
    await expect(world.attach(volume, { generation: 2 })).rejects.toMatchObject({ code: 'stale-write' });
    await world.host.detach(id, 2 as Generation);
    expect(world.host.get(id)?.generation).toBe(3);
    await world.host.detach(id, 3 as Generation);
    expect(world.host.get(id)).toBeUndefined();
  });

  it('flushes what clients were told is done before it detaches', async () => {
    await world.attach(testVolume({ id }));
    await expect.poll(() => world.host.get(id)?.frontend.connected).toBe(true);
    await world.host.detach(id);
    expect(world.primaryOf(id).flushes).toBe(1);
  });

  it('does not wait for a flush of a volume that has never answered', async () => {
    world.primaryOf(id).frozen = true;
    // In whose time nothing that waits would ever end.
    const host = await another('patient', new FakeClock());
    await host.attach(testVolume({ id }), 1 as Generation);
    await host.detach(id);
    expect(host.list()).toEqual([]);
  });

  it('does not open an encrypted volume without its key', async () => {
    const volume = testVolume({ id, encryption: true });
    await expect(world.attach(volume)).rejects.toMatchObject({ code: 'invalid' });
    expect(world.host.list()).toEqual([]);
    await world.attach(volume, { key: randomBytes(64) });
  });

  it('refuses new volumes once it is closed', async () => {
    await world.host.close();
    await expect(world.attach(testVolume({ id }))).rejects.toMatchObject({ code: 'invalid-state' });
  });

  it('passes membership on to the volume that it is about', async () => {
    await world.attach(testVolume({ id }));
    await expect.poll(() => world.host.get(id)?.frontend.primary).toBe(placements[0]?.node);
    world.host.onMembership(id, membership(2, 1), placements);
    world.host.onMembership(randomUUID() as VolumeId, membership(9, 2), placements);
    await expect.poll(() => world.host.get(id)?.frontend.primary).toBe(placements[1]?.node);
  });

  it('takes over the socket of a process that was killed', async () => {
    const attached = await world.attach(testVolume({ id }));
    await world.host.detach(id);
    await writeFile(attached.socketPath, '');
    await world.attach(testVolume({ id }));
    expect(statSync(attached.socketPath).isSocket()).toBe(true);
  });

  it('removes the sockets that a process which was killed has left, and nothing else', async () => {
    const socketDir = join(world.directory, 'left');
    await mkdir(socketDir);
    const living = `${randomUUID()}.nbd.sock`;
    const server = createServer().listen(join(socketDir, living));
    await once(server, 'listening');
    const names = [`${randomUUID()}.nbd.sock`, `${id}.nbd.sock`, 'agent.sock', 'other.nbd.sock'];
    await Promise.all(names.map((name) => writeFile(join(socketDir, name), '')));
    await another('left');
    expect((await readdir(socketDir)).sort()).toEqual(['agent.sock', living, 'other.nbd.sock'].sort());
    server.close();
  });
});

describe('the path of a socket', () => {
  it('may be as long as the system allows, and the error names the setting', () => {
    expect(() => checkSocketPath('/'.padEnd(107, 'x'))).not.toThrow();
    expect(() => checkSocketPath('/'.padEnd(108, 'x'))).toThrow(/SOCKET_DIR/);
  });
});

describe('SessionCounter', () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sessions-'));
    path = join(directory, 'counter');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('rises within a run and over runs', async () => {
    const numbers: number[] = [];
    for (let run = 0; run < 3; run++) {
      const counter = await SessionCounter.open(path);
      for (let i = 0; i < 3; i++) numbers.push(counter.next());
    }
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(new Set(numbers).size).toBe(9);
  });

  it('goes on behind 2^20 numbers, which the next run knows', async () => {
    const counter = await SessionCounter.open(path);
    let last = 0;
    for (let i = 0; i < 2 ** 20 + 10; i++) {
      const next = counter.next();
      if (next <= last) expect.fail(`${next} after ${last}`);
      last = next;
      if (i === 2 ** 19) await expect.poll(() => readFile(path, 'utf8')).toBe('2\n');
    }
    expect((await SessionCounter.open(path)).next()).toBeGreaterThan(last);
  });

  it.each(['', 'x', '-1', '99999999999999999999', '1\n2'])('does not start from "%s"', async (content) => {
    await writeFile(path, content);
    await expect(SessionCounter.open(path)).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('RangeLock', () => {
  it('is granted in order, to ranges that do not overlap at once', async () => {
    const lock = new RangeLock();
    const log: string[] = [];
    const take = async (name: string, first: number, end: number) => {
      const release = await lock.acquire(first, end);
      log.push(name);
      return release;
    };
    const a = await take('a', 0, 10);
    const b = take('b', 5, 15);
    const c = take('c', 12, 20);
    const d = await take('d', 20, 30);
    expect(log).toEqual(['a', 'd']);
    expect(lock.overlaps(14, 15)).toBe(true);
    expect(lock.overlaps(30, 31)).toBe(false);
    a();
    (await b)();
    (await c)();
    d();
    expect(log).toEqual(['a', 'd', 'b', 'c']);
    expect(lock.overlaps(0, 100)).toBe(false);
  });
});

describe('partial blocks', () => {
  it('that many clients write at once are all there', async () => {
    const world = await openWorld();
    try {
      const { nbdUri } = await world.attach(testVolume({ id: randomUUID() as VolumeId, blockSize: 65536 }));
      // Every client owns every eighth run of 100 bytes; all are in the same few blocks.
      const script = `
import nbd, sys, threading
def client(n):
    h = nbd.NBD()
    h.connect_uri(sys.argv[1])
    for i in range(200):
        h.pwrite(bytes([n + 1]) * 100, (i * 8 + n) * 100)
threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
h = nbd.NBD()
h.connect_uri(sys.argv[1])
got = h.pread(160000, 0)
assert all(got[i] == i // 100 % 8 + 1 for i in range(160000))
print('same')
`;
      const { stdout } = await run('/usr/bin/python3', ['-c', script, nbdUri], { timeout: 30_000 });
      expect(stdout).toBe('same\n');
    } finally {
      await world.close();
    }
  });
});
