/** Comparison of the in-sync copies of a volume: every block, its order and its checksum. */

import { Context } from '@temporalio/activity';
import { MAX_REPORTED_DIFFERENCES, type VerifyDifference, type VerifyReport } from '../core/controller.js';
import type { Placement } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { DeploymentStatus } from '../core/messages.js';
import { sameOrder } from '../core/order.js';
import { KIND_LOST, KIND_ZERO } from '../core/record.js';
import { type BlockNumber, type Epoch, ORDER_ZERO, type Sequence, type VolumeId } from '../core/types.js';
import { requireVolume } from './copies.js';
import type { ActivityDeps, InventoryBlock, InventoryPage } from './deps.js';

const PAGE_BLOCKS = 4096;
/** How often it begins again because something was written meanwhile. */
const ATTEMPTS = 5;
const PAUSE_MS = 500;

export interface VerifyActivities {
  /** 'node-unavailable' if a copy does not answer; 'invalid-state' if writes never pause for long enough. */
  verifyCopies(request: { volume: VolumeId }): Promise<VerifyReport>;
}

export function createVerifyActivities(deps: ActivityDeps): VerifyActivities {
  const { state, replication, settings } = deps;

  async function statuses(copies: readonly Placement[]): Promise<DeploymentStatus[]> {
    return Promise.all(copies.map((copy) => replication.remoteStatus(copy, settings.statusTimeoutMs)));
  }

  return {
    async verifyCopies({ volume }) {
      const context = Context.current();
      for (let attempt = 1; ; attempt++) {
        const [record, membership] = await Promise.all([
          requireVolume(deps, volume),
          state.membershipStore.read(volume),
        ]);
        if (membership === undefined)
          throw new DomainError('invalid-state', `volume ${record.name} is not provisioned`);
        const copies = record.placements.filter((placed) => membership.inSync.includes(placed.deployment));
        const before = await statuses(copies);
        const compared = await compareCopies(copies, (copy, from) => {
          context.heartbeat({ attempt, block: from });
          return replication.remoteInventory(copy, from as BlockNumber, PAGE_BLOCKS);
        });
        const after = await statuses(copies);
        const quiet = after.every((status, i) => sameOrder(status.last, before[i]!.last));
        if (quiet || compared.differingBlocks === 0) {
          return {
            identical: compared.differingBlocks === 0,
            deployments: copies.map((copy, i) => ({
              id: copy.deployment,
              node: copy.node,
              blocks: compared.blocks[i]!,
              lastOrder: after[i]!.last,
              usedBytes: after[i]!.usedBytes,
            })),
            differingBlocks: compared.differingBlocks,
            differences: compared.differences,
          };
        }
        if (attempt === ATTEMPTS) {
          throw new DomainError(
            'invalid-state',
            `volume ${record.name} is being written to; try again when it is quiet`,
          );
        }
        await context.sleep(PAUSE_MS);
      }
    },
  };
}

export interface Comparison {
  /** Blocks that each copy holds. */
  readonly blocks: readonly number[];
  readonly differingBlocks: number;
  readonly differences: readonly VerifyDifference[];
}

/** Merges the inventories of all copies by block number; holds one page of each. */
export async function compareCopies(
  copies: readonly Placement[],
  fetch: (copy: Placement, from: number) => Promise<InventoryPage>,
): Promise<Comparison> {
  const cursors = copies.map((copy) => new Cursor((from) => fetch(copy, from)));
  const blocks = copies.map(() => 0);
  const differences: VerifyDifference[] = [];
  let differingBlocks = 0;
  for (;;) {
    const heads = await Promise.all(cursors.map((cursor) => cursor.head()));
    const block = Math.min(...heads.map((head) => head?.block ?? Number.POSITIVE_INFINITY));
    if (block === Number.POSITIVE_INFINITY) return { blocks, differingBlocks, differences };
    const present = heads.map((head) => (head?.block === block ? head : undefined));
    present.forEach((found, i) => {
      if (found === undefined) return;
      blocks[i]!++;
      cursors[i]!.advance();
    });
    if (present.every((found) => sameBlock(found, present[0]))) continue;
    differingBlocks++;
    if (differences.length < MAX_REPORTED_DIFFERENCES) {
      differences.push({ block, copies: copies.map((copy, i) => described(copy, present[i])) });
    }
  }
}

class Cursor {
  readonly #fetch: (from: number) => Promise<InventoryPage>;
  #page: readonly InventoryBlock[] = [];
  #at = 0;
  #next: number | undefined = 0;

  constructor(fetch: (from: number) => Promise<InventoryPage>) {
    this.#fetch = fetch;
  }

  async head(): Promise<InventoryBlock | undefined> {
    while (this.#at === this.#page.length && this.#next !== undefined) {
      const page = await this.#fetch(this.#next);
      if (page.next !== undefined && page.next <= this.#next) {
        throw new DomainError('internal', `an inventory does not go on behind block ${this.#next}`);
      }
      this.#page = page.blocks;
      this.#next = page.next;
      this.#at = 0;
    }
    return this.#page[this.#at];
  }

  advance(): void {
    this.#at++;
  }
}

/** A copy that knows a block to be lost holds the same block as one that has it, or has it damaged. */
function sameBlock(a: InventoryBlock | undefined, b: InventoryBlock | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const sameWrite = a.epoch === b.epoch && a.sequence === b.sequence;
  const sameChecksum = a.checksumLow === b.checksumLow && a.checksumHigh === b.checksumHigh;
  if (!sameWrite || !sameChecksum) return false;
  if ([a.kind, b.kind].includes(KIND_LOST)) return ![a.kind, b.kind].includes(KIND_ZERO);
  return a.kind === b.kind && a.flags === b.flags && a.storedLength === b.storedLength;
}

function described(copy: Placement, found: InventoryBlock | undefined): VerifyDifference['copies'][number] {
  if (found === undefined) return { deployment: copy.deployment, order: ORDER_ZERO, checksum: '' };
  const { epoch, sequence, checksumHigh, checksumLow } = found;
  const hex = (half: number) => half.toString(16).padStart(8, '0');
  return {
    deployment: copy.deployment,
    order: { epoch: epoch as Epoch, sequence: sequence as Sequence },
    checksum: hex(checksumHigh) + hex(checksumLow),
  };
}
