import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '../../../../core/messages.js';
import type { DeploymentId } from '../../../../core/types.js';
import { StoreFailedError } from '../../../../node-agent/store/errors.js';
import { primaryWithTargets, THIRD } from './copies.js';
import { SELF } from './lab.js';

const BLOCK_BYTES = 4096;

/** Writes behind the first sync's begin, while the target's confirmations are held back. */
async function laggingTarget(maxTargetLagBytes: number) {
  let slow = true;
  const unanswered = (to: DeploymentId, message: PeerMessage): boolean =>
    slow && to === THIRD && (message.type === 'append' || message.type === 'sync-finish');
  const stage = await primaryWithTargets(unanswered, { maxTargetLagBytes, memberTimeoutMs: 3_000 });
  const sync = stage.lab.deployment.startSync(THIRD, () => {});
  sync.done.catch(() => {});
  await stage.until(() => stage.lab.all('sync-begin').length > 0);
  await stage.lab.pass(20);
  return {
    ...stage,
    sync,
    catchUp: (): void => {
      slow = false;
    },
  };
}

describe('a target that falls behind the live stream', () => {
  it('holds writers back at the bound, and no longer when it is given up', async () => {
    const { lab, write, written, until, sync } = await laggingTarget(4 * BLOCK_BYTES);
    // The generation's entry counts, too.
    for (let request = 100; request < 110; request++) {
      write(request);
      await lab.pass(5);
    }
    expect(written(103)).toBe(true);
    expect(written(109)).toBe(false);
    expect(await until(() => written(109))).toBeLessThan(3_500);
    await expect(sync.done).rejects.toMatchObject({
      code: 'target-refused',
      message: expect.stringMatching(/too-slow/),
    });
  });

  it('holds nobody back below the bound', async () => {
    const { lab, write, written } = await laggingTarget(64 * BLOCK_BYTES);
    for (let request = 100; request < 140; request++) write(request);
    await lab.pass(50);
    expect(written(139)).toBe(true);
  });

  it('is given up when the store has failed meanwhile, which ends the copy and nothing else', async () => {
    const { lab, write, until, sync } = await laggingTarget(4 * BLOCK_BYTES);
    for (let request = 100; request < 110; request++) {
      write(request);
      await lab.pass(5);
    }
    lab.store.hasRoom = () => {
      throw new StoreFailedError(SELF, { cause: undefined });
    };
    sync.cancel();
    await until(() => lab.deployment.halted);
    await expect(sync.done).rejects.toBeDefined();
    expect(lab.attentions).toContain('store-failed');
  });

  it('lets them go on when it has caught up', async () => {
    const { lab, receive, write, written, until, catchUp } = await laggingTarget(4 * BLOCK_BYTES);
    for (let request = 100; request < 110; request++) {
      write(request);
      await lab.pass(5);
    }
    expect(written(109)).toBe(false);
    catchUp();
    const { epoch, incarnation } = lab.last('backfill') ?? lab.last('append')!;
    receive(THIRD, { type: 'appended', epoch, incarnation, last: lab.store.last.sequence, durable: lab.store.durable });
    expect(await until(() => written(109))).toBeLessThan(100);
  });
});
