/** Nodes whose disks are small and full: a replica's, and all of them. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import type { NodeFacts } from '../../cluster/facts.js';
import { temporaryDirectory } from '../../cluster/site.js';
import { waitFor } from '../../cluster/wait.js';
import { runFio } from '../setup/fio.js';
import { SmallDisk } from '../setup/small-disk.js';
import { TestCluster } from '../setup/test-cluster.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const RESERVE_BYTES = 48 * MIB;
const COMMAND_TIMEOUT_MS = 240_000;

let test: TestCluster | undefined;
const disks: SmallDisk[] = [];
afterEach(async () => {
  await test?.cluster.stop();
  for (const disk of disks.splice(0)) disk.release();
  await test?.destroy();
  test = undefined;
});

/** A cluster in which these nodes' data is on disks of that size. */
async function start(small: readonly string[], sizeBytes: number, nodes = 3): Promise<TestCluster> {
  const directory = temporaryDirectory('test');
  for (const name of small) disks.push(new SmallDisk(join(directory, name, 'data'), 'ext4', sizeBytes));
  return await TestCluster.start({ nodes, settings: { CAPACITY_RESERVE_BYTES: String(RESERVE_BYTES) } }, directory);
}

/** Python's binding of libnbd: it tells errors apart, and trims. */
async function nbd(uri: string, script: string): Promise<string> {
  const program = `import nbd, sys, errno, os\nh = nbd.NBD()\nh.connect_uri(sys.argv[1])\n${script}`;
  const { stdout } = await run('/usr/bin/python3', ['-c', program, uri], { timeout: COMMAND_TIMEOUT_MS });
  return stdout.trim();
}

/** Writes incompressible MiBs from an offset on, until ENOSPC or so many; prints how many it wrote. */
const fill = (fromMib: number, most = 2000) => `
written = 0
try:
    while written < ${most}:
        h.pwrite(os.urandom(1 << 20), (${fromMib} + written) << 20)
        written += 1
except nbd.Error as error:
    assert error.errnum == errno.ENOSPC, error
print(written)
`;

const freeBytes = async (node: NodeFacts): Promise<number> => {
  const text = await (await fetch(`http://${node.apiEndpoint}/metrics`)).text();
  return Number(/^storageos_node_device_available_bytes (\S+)$/m.exec(text)?.[1]);
};

it('on a full disk writes end with ENOSPC, reads and trims go on, and what was trimmed can be written again', async () => {
  test = await start(['node1', 'node2', 'node3'], 256 * MIB);
  const volume = await test.createVolume('full', 0, { 'storageos.com/nocompress': 'true' });
  const holder = test.nodeOf(volume.master.nodeID);
  const uri = await test.attach(volume, test.bystander(volume));
  await runFio({ uri, size: '16m', seed: 1, mode: 'write' });
  for (let round = 1; round <= 3; round++) {
    const written = Number(await nbd(uri, fill(16)));
    expect(written).toBeGreaterThan(48);
    expect(await freeBytes(holder)).toBeLessThan(4 * MIB);
    await runFio({ uri, size: '16m', seed: 1, mode: 'verify' });
    await nbd(uri, `h.trim(${written} << 20, 16 << 20)\nh.flush()`);
    // A segment at the least; the rest when it is needed.
    await waitFor('the space to come back', async () => (await freeBytes(holder)) > 40 * MIB || undefined, {
      timeoutMs: 60_000,
    });
  }
  await runFio({ uri, size: '16m', seed: 1, mode: 'verify' });
  await runFio({ uri, size: '32m', offset: '32m', seed: 2 });
});

it('a replica whose disk is full leaves, the volume goes on, and it is filled again when there is room', async () => {
  test = await start(['node2'], 160 * MIB, 2);
  const { cluster } = test;
  const [large, small] = cluster.nodes;
  await cluster.stopNode(small!.name);
  const volume = await test.createVolume('outgrown', 0, { 'storageos.com/nocompress': 'true' });
  await cluster.startNode(small!.name);
  await cluster.api.setReplicas(volume, 1);
  await test.untilReady(volume, 1);
  const uri = await test.attach(volume, large!);
  expect(await nbd(uri, fill(0, 200))).toBe('200');
  const { replicas } = await cluster.api.volume(volume.namespaceID, volume.id);
  expect(replicas).toHaveLength(1);
  expect(replicas![0]).toMatchObject({ nodeID: small!.id, promotable: false });

  await runFio({ uri, size: '16m', seed: 1, mode: 'write' });
  await nbd(uri, 'h.trim(180 << 20, 16 << 20)\nh.flush()');
  await test.untilReady(volume, 1);
  expect(await test.verify(volume)).toMatchObject({ identical: true });
  await cluster.killNode(large!.name);
  await cluster.startNode(large!.name);
  await runFio({ uri: await test.attach(volume, large!), size: '16m', seed: 1, mode: 'verify' });
});
