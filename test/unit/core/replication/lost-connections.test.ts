import { describe, expect, it } from 'vitest';
import type { Incarnation } from '../../../../core/types.js';
import { Lab, OTHER, SELF } from './lab.js';

describe('a member that was away', () => {
  it('is not called unreachable in a later epoch for a time before it had answered', async () => {
    const lab = await Lab.open();
    lab.observe(lab.initial());
    await lab.pass(20);
    const { epoch } = lab.last('promise')!;
    const none = '00000000-0000-0000-0000-000000000000' as Incarnation;
    // Its node is up, the copy is not open yet.
    lab.receive({
      type: 'refused',
      epoch,
      incarnation: none,
      of: 'promise',
      reason: 'no-deployment',
      last: lab.store.last,
    });
    await lab.pass(300);
    lab.promise();
    for (let i = 0; i < 5; i++) {
      await lab.pass(200);
      lab.grantLease();
    }
    lab.record = lab.swaps.at(-1)!.next;
    lab.swaps.at(-1)!.settle('applied');
    // Longer than a tick, much shorter than a member may take to promise the new epoch.
    await lab.pass(400);
    expect(lab.swaps).toHaveLength(1);
    lab.promise();
    lab.grantLease();
    expect(lab.deployment.status()).toMatchObject({ role: 'primary', serving: true });
    expect(lab.record!.inSync).toEqual([SELF, OTHER]);
  });

  it('does not owe the answers to leases that were asked for before it went away', async () => {
    const lab = await Lab.open({ memberGraceMs: 10_000, memberTimeoutMs: 3_000 });
    await lab.makePrimary();
    await lab.pass(600);
    lab.linkUp = false;
    lab.deployment.onPeerDown('node-b' as never);
    await lab.pass(2_800);
    lab.linkUp = true;
    lab.deployment.onPeerUp('node-b' as never);
    lab.promise();
    await lab.pass(400);
    lab.grantLease();
    await lab.pass(400);
    expect(lab.swaps).toHaveLength(1);
    expect(lab.deployment.status().serving).toBe(true);
  });
});
