import { afterAll, describe, expect, it } from 'vitest';
import { GossipSim, type SimNode } from './sim.js';

const MINUTE = 60_000;
/** Of a datagram, ms: a probe's answer takes longer than its time-out one time in three. */
const SLOW: readonly [number, number] = [20, 200];
const rows: Record<string, string | number>[] = [];
afterAll(() => console.table(rows));

function settled(options: ConstructorParameters<typeof GossipSim>[0]): GossipSim {
  const sim = new GossipSim(options);
  expect(sim.run(MINUTE, () => sim.agree())).toBe(true);
  sim.run(sim.now + 5000);
  sim.changes.length = 0;
  return sim;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

describe('a dead process', () => {
  it.each([
    { nodes: 3, loss: 0, limitMs: 3500 },
    { nodes: 5, loss: 0, limitMs: 6000 },
    { nodes: 20, loss: 0, limitMs: 8000 },
    { nodes: 3, loss: 0.1, limitMs: 12_000 },
    { nodes: 20, loss: 0.1, limitMs: 20_000 },
    { nodes: 5, loss: 0, delayMs: SLOW, limitMs: 20_000 },
  ])('is found by all of $nodes nodes with loss $loss, delays $delayMs', ({ nodes, loss, delayMs, limitMs }) => {
    const first: number[] = [];
    const all: number[] = [];
    for (let seed = 1; seed <= (nodes < 20 ? 10 : 5); seed++) {
      const sim = settled({ seed, nodes, loss, ...(delayMs && { delayMs }) });
      const victim = sim.nodes[1 + (seed % (nodes - 1))] as SimNode;
      const others = sim.nodes.filter((node) => node !== victim);
      victim.up = false;
      const killedAt = sim.now;
      expect(sim.run(killedAt + MINUTE, () => others.some((node) => sim.statusOf(node, victim) === 'dead'))).toBe(true);
      first.push(sim.now - killedAt);
      expect(sim.run(killedAt + MINUTE, () => others.every((node) => sim.statusOf(node, victim) === 'dead'))).toBe(
        true,
      );
      all.push(sim.now - killedAt);
    }
    const slowest = Math.max(...all);
    const row = {
      test: delayMs === undefined ? 'crash' : `crash, ${delayMs.join('–')} ms`,
      nodes,
      loss,
      'first, ms': median(first),
      'all, ms': median(all),
      'slowest, ms': slowest,
    };
    rows.push(
      Object.fromEntries(Object.entries(row).map(([k, v]) => [k, typeof v === 'number' && v > 1 ? Math.round(v) : v])),
    );
    expect(slowest).toBeLessThan(limitMs);
  });

  it('that comes back is alive again everywhere, as a new life', () => {
    const sim = settled({ seed: 5, nodes: 3 });
    const victim = sim.nodes[2] as SimNode;
    victim.up = false;
    sim.run(sim.now + 10_000);
    const back = sim.add(2);
    const [a, b] = sim.nodes as [SimNode, SimNode];
    expect(sim.statusOf(a, back)).toBe('dead');
    const from = sim.now;
    back.swim.start([a.info.addresses.gossip]);
    expect(sim.run(from + 5000, () => sim.agree([a, b, back]))).toBe(true);
  });

  it('that says goodbye has left, without suspicion', () => {
    const sim = settled({ seed: 6, nodes: 3 });
    const [a, b, leaver] = sim.nodes as [SimNode, SimNode, SimNode];
    leaver.swim.leave();
    leaver.up = false;
    sim.run(sim.now + 20_000);
    expect([sim.statusOf(a, leaver), sim.statusOf(b, leaver)]).toEqual(['left', 'left']);
    expect(sim.changes.filter(({ status }) => status !== 'left')).toEqual([]);
  });
});

describe('a living process is not declared dead', () => {
  function falsePositives(sim: GossipSim): number {
    return sim.changes.filter(({ status }) => status === 'dead').length;
  }

  it.each([
    { nodes: 3, loss: 0, limit: 0 },
    { nodes: 3, loss: 0.05, limit: 0 },
    { nodes: 10, loss: 0.05, limit: 0 },
    { nodes: 10, loss: 0.2, limit: 2 },
    { nodes: 5, loss: 0, delayMs: SLOW, limit: 0 },
  ])('in 10 minutes of $nodes nodes with loss $loss, delays $delayMs', ({ nodes, loss, delayMs, limit }) => {
    const sim = settled({ seed: 7, nodes, loss, ...(delayMs && { delayMs }) });
    const from = sim.datagrams;
    sim.run(sim.now + 10 * MINUTE);
    const suspicions = sim.changes.filter(({ status }) => status === 'suspect').length;
    const rate = Math.round((sim.datagrams - from) / 600 / nodes);
    rows.push({
      test: delayMs === undefined ? '10 min' : `10 min, ${delayMs.join('–')} ms`,
      nodes,
      loss,
      suspicions,
      'false deaths': falsePositives(sim),
      'datagrams/s/node': rate,
    });
    expect(falsePositives(sim)).toBeLessThanOrEqual(limit);
    expect(sim.run(sim.now + MINUTE, () => sim.agree())).toBe(true);
  });

  it.each([3, 10])('when event loops stand still now and then, among %s nodes', (nodes) => {
    const sim = settled({ seed: 8, nodes });
    for (let i = 0; i < 300; i++) {
      const node = sim.nodes[Math.floor(sim.random.next() * nodes)] as SimNode;
      node.pausedUntil = sim.now + 200 + sim.random.next() * 1300;
      // The next stall begins after this one: several in a row would be one of many seconds.
      sim.run(node.pausedUntil + sim.random.next() * 2000);
    }
    const suspicions = sim.changes.filter(({ status }) => status === 'suspect').length;
    const row = { test: 'stalls of 0.2–1.5 s', nodes, loss: 0, suspicions, 'false deaths': falsePositives(sim) };
    rows.push(row);
    expect(falsePositives(sim)).toBe(0);
  });

  it('by one that stood still for long itself', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const sim = settled({ seed, nodes: 3 });
      const sleeper = sim.nodes[1] as SimNode;
      sleeper.pausedUntil = sim.now + 20_000;
      sim.run(sim.now + 25_000);
      const judged = sim.changes.filter(({ observer, status }) => observer === sleeper.info.node && status === 'dead');
      expect(judged).toEqual([]);
      expect(sim.run(sim.now + 10_000, () => sim.agree())).toBe(true);
    }
  });
});

describe('partitions', () => {
  it.each([3, 9])('of %s nodes are seen on both sides, and forgotten when they heal', (nodes) => {
    const healed: number[] = [];
    for (let seed = 1; seed <= 5; seed++) {
      const sim = settled({ seed, nodes });
      const half = sim.nodes.slice(0, Math.ceil(nodes / 2));
      const rest = sim.nodes.slice(half.length);
      const side = new Map(sim.nodes.map((node) => [node.info.addresses.gossip, half.includes(node)]));
      sim.reachable = (from, to) => side.get(from) === side.get(to);
      const parted = (): boolean =>
        half.every((a) => rest.every((b) => sim.statusOf(a, b) === 'dead' && sim.statusOf(b, a) === 'dead'));
      expect(sim.run(sim.now + MINUTE, parted)).toBe(true);
      expect(sim.agree(half) && sim.agree(rest)).toBe(true);
      sim.reachable = () => true;
      const from = sim.now;
      expect(sim.run(from + MINUTE, () => sim.agree())).toBe(true);
      healed.push(sim.now - from);
    }
    rows.push({ test: 'partition heals', nodes, loss: 0, 'all, ms': Math.round(median(healed)) });
    expect(Math.max(...healed)).toBeLessThan(15_000);
  });

  it('between two nodes only do not make either dead, as others can reach both', () => {
    const sim = settled({ seed: 3, nodes: 3 });
    const [, b, c] = sim.nodes.map((node) => node.info.addresses.gossip);
    sim.reachable = (from, to) => !((from === b && to === c) || (from === c && to === b));
    sim.run(sim.now + MINUTE);
    expect(sim.changes.filter(({ status }) => status === 'dead')).toEqual([]);
  });
});

it('nodes that start before their seed find it when it comes', () => {
  const sim = new GossipSim({ seed: 1, nodes: 3 });
  const [seed, ...others] = sim.nodes as [SimNode, ...SimNode[]];
  sim.reachable = (from, to) => from !== seed.info.addresses.gossip && to !== seed.info.addresses.gossip;
  sim.run(10_000);
  expect(sim.agree(others)).toBe(false);
  sim.reachable = () => true;
  expect(sim.run(sim.now + 5000, () => sim.agree())).toBe(true);
});
